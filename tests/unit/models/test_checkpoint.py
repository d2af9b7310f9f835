import argparse
import hashlib
import os
import pickle
import socket

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from bench.core.canonical import sha256_of
from bench.core.errors import InputError, UnknownNameError
from bench.core.profile import Base
from bench.models.checkpoint import load_state
from bench.models.pretrained import find_weights, is_offline, timm_base, timm_shape
from bench.models.state_files import expect_digest, read_state

VIT = "vit_tiny_patch16_224"
AUGREG2 = "vit_base_patch16_224.augreg2_in21k_ft_in1k"


def vit(**options):
    return timm.create_model(VIT, **{"depth": 1, "embed_dim": 24, "num_heads": 3, "num_classes": 10, **options})


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return vit().state_dict()


@pytest.fixture
def refused(tmp_path):
    """The one line with which a file is refused, after ``fill(path)`` has written it."""

    def line(fill, network=None, name="weights.pt"):
        path = tmp_path / name
        fill(path)
        with pytest.raises(InputError) as caught:
            read_state(path) if network is None else load_state(network, path, name=VIT)
        text = str(caught.value)
        assert "\n" not in text
        assert text.startswith(str(path))
        return text.removeprefix(str(path))

    return line


def content(value, **options):
    return lambda path: torch.save(value, path, **options)


CONTAINERS = {
    "bare": lambda s: s,
    "state_dict": lambda s: {"state_dict": s, "epoch": 3},
    "parallel": lambda s: {"state_dict": {f"module.{n}": t for n, t in s.items()}},
    "compiled": lambda s: {
        "model": {f"module._orig_mod.{n}": t for n, t in s.items()},
        "args": argparse.Namespace(a=1),
    },
    "average": lambda s: {"state_dict": {n: t + 1 for n, t in s.items()}, "state_dict_ema": s},
    "no average": lambda s: {"model": s, "model_ema": None},
    "nested": lambda s: {"model": {"state_dict": s}},
}


@pytest.mark.parametrize("wrap", CONTAINERS.values(), ids=CONTAINERS)
def test_torch_files_of_every_container(wrap, state, tmp_path):
    torch.save(wrap(state), tmp_path / "w.pt")
    network = vit()
    load_state(network, tmp_path / "w.pt", name=VIT)
    assert all(torch.equal(t, state[n]) for n, t in network.state_dict().items())


def test_older_torch_files_and_safetensors(state, tmp_path):
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "new.safetensors")
    save_file(state, tmp_path / "named.bin")
    for name in ("old.pth", "new.safetensors", "named.bin"):
        got = read_state(tmp_path / name)
        assert got.keys() == state.keys()
        assert all(torch.equal(t, state[n]) for n, t in got.items())


def test_half_precision_becomes_single(state, tmp_path):
    save_file({n: t.half() for n, t in state.items()}, tmp_path / "w.safetensors")
    network = vit()
    load_state(network, tmp_path / "w.safetensors", name=VIT)
    assert {t.dtype for t in network.state_dict().values()} == {torch.float32}
    assert torch.equal(network.head.weight, state["head.weight"].half().float())


PAGES = [b"<!DOCTYPE html><html>", b"\n  <html lang=en>", b"\xef\xbb\xbf<!doctype HTML>"]


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
@pytest.mark.parametrize("page", PAGES)
def test_a_web_page(page, name, refused):
    assert "is a web page, not weights; download it again" in refused(lambda p: p.write_bytes(page), name=name)


def test_what_is_not_weights(refused, tmp_path):
    assert "does not exist" in refused(lambda p: None)
    assert "is empty" in refused(lambda p: p.touch())
    assert "is a folder" in refused(lambda p: p.mkdir(), name="folder")
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n"
    for name in ("w.pt", "w.safetensors"):
        assert "is a Git LFS pointer" in refused(lambda p: p.write_bytes(pointer), name=name)
    assert "neither a safetensors nor a torch file" in refused(lambda p: p.write_bytes(b"hello world, hello"))


def cut(share, save):
    def fill(path):
        save(path)
        os.truncate(path, int(path.stat().st_size * share))

    return fill


@pytest.mark.parametrize("share", [0.0001, 0.01, 0.5, 0.99])
def test_files_cut_short(share, state, refused):
    for name, save in {
        "w.safetensors": lambda p: save_file(state, p),
        "w.pt": content(state),
        "w.pth": content(state, _use_new_zipfile_serialization=False),
    }.items():
        assert "is cut short" in refused(cut(share, save), name=name)


def test_an_older_torch_file_cut_anywhere(refused):
    small = {f"w{i}": torch.ones(2, 3) for i in range(2)}
    for share in torch.linspace(0.02, 0.99, 150).tolist():
        assert "is cut short" in refused(cut(share, content(small, _use_new_zipfile_serialization=False)))


def test_damaged_files(state, refused):
    def garble(save, where):
        def fill(path):
            save(path)
            data = bytearray(path.read_bytes())
            data[where] = b"\0" * len(data[where])
            path.write_bytes(data)

        return fill

    assert "damaged torch file" in refused(garble(content(state), slice(30, 2000)))
    assert "unreadable header" in refused(garble(lambda p: save_file(state, p), slice(9, 40)), name="w.safetensors")


class Code:
    def __reduce__(self):
        return os.system, ("true",)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_is_not_run_and_named(zipped, refused):
    text = refused(content({"model": Code()}, _use_new_zipfile_serialization=zipped))
    assert "holds code (posix.system), which is not run" in text
    assert "convert it to safetensors on a machine where you trust it" in text


def test_whole_modules_and_plain_pickles(refused):
    assert "holds code (torch.nn.modules.linear.Linear)" in refused(content(nn.Linear(2, 2)))
    for protocol in (2, 3, 4, 5):
        text = refused(lambda p, protocol=protocol: p.write_bytes(pickle.dumps({"w": Code()}, protocol)))
        assert "holds code (posix.system), which is not run" in text


def test_what_is_no_dictionary_of_tensors(refused):
    assert "holds a list, expected tensors by name" in refused(content([torch.ones(1)]))
    assert "holds a Tensor" in refused(content(torch.ones(1)))
    assert "holds a int under 'epoch'" in refused(content({"w": torch.ones(1), "epoch": 3}))
    assert "holds no tensors" in refused(content({"state_dict": {}}))


def test_another_number_of_classes(state, refused):
    text = refused(content(vit(num_classes=21).state_dict()), vit())
    assert f"holds 21 classes (head.weight), expected 10 for {VIT}" in text
    assert "holds no classifier (head.weight is missing), expected 10" in refused(
        content({n: t for n, t in state.items() if not n.startswith("head")}), vit()
    )


def test_another_architecture(refused):
    text = refused(content(timm.create_model("resnet10t").state_dict()), vit())
    assert f"is not of the architecture {VIT}: " in text
    assert "missing (e.g. cls_token)" in text
    assert "unexpected (e.g. conv1.0.weight)" in text
    wider = refused(content(vit(embed_dim=48).state_dict()), vit())
    assert "of another shape (e.g. cls_token: (1, 1, 48) for (1, 1, 24))" in wider


@pytest.mark.parametrize("change", [{"img_size": 384}, {"patch_size": 32}])
def test_nothing_is_resampled(change, refused):
    """Timm's conversion would fit another image or patch size in silence."""
    other = vit(**change).state_dict()
    assert "of another shape" in refused(content(other), vit())
    assert "of another shape" in refused(content({**other, "pre_logits.fc.weight": torch.ones(1)}), vit())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(value, state, refused):
    broken = {**state, "norm.weight": state["norm.weight"].clone()}
    broken["norm.weight"][3] = value
    assert "NaN or infinity in 1 tensors (e.g. norm.weight)" in refused(content(broken), vit())


def test_older_names_go_through_timms_conversion(tmp_path):
    """Swin as before timm 0.9: `head.`, `downsample` one stage earlier, masks and indices in the file."""
    options = {"depths": (1, 1, 1, 1), "embed_dim": 12, "num_heads": (1, 1, 1, 1), "num_classes": 10}
    network = timm.create_model("swin_tiny_patch4_window7_224", **options)
    expected = {n: t.clone() for n, t in network.state_dict().items()}
    old = {}
    for name, tensor in expected.items():
        parts = name.split(".")
        if "downsample" in parts:
            parts[1] = str(int(parts[1]) - 1)
        old[".".join(parts).replace("head.fc.", "head.")] = tensor
    old["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(49, 49, dtype=torch.int64)
    torch.save({"state_dict": old}, tmp_path / "w.pt")
    fresh = timm.create_model("swin_tiny_patch4_window7_224", **options)
    load_state(fresh, tmp_path / "w.pt", name="swin")
    assert all(torch.equal(t, expected[n]) for n, t in fresh.state_dict().items())


def test_digests(tmp_path):
    path = tmp_path / "w"
    path.write_bytes(b"abc")
    digest = hashlib.sha256(b"abc").hexdigest()
    assert sha256_of(path) == expect_digest(path, digest) == digest
    with pytest.raises(InputError, match=f"has SHA-256 {digest[:12]}, expected {'0' * 12}"):
        expect_digest(path, "0" * 64)


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    def refuse(*args, **options):
        raise AssertionError("the network was tried")

    monkeypatch.setattr(socket, "socket", type("Refused", (socket.socket,), {"__init__": refuse}))
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for name in ("HF_HUB_OFFLINE", "BENCH_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.mark.parametrize(
    "where",
    [
        f"{AUGREG2}.safetensors",
        f"{AUGREG2}.pth.tar",
        f"{AUGREG2}/model.safetensors",
        f"{AUGREG2}/pytorch_model.bin",
        f"{AUGREG2}/{AUGREG2}.ckpt",
        f"models--timm--{AUGREG2}/snapshots/0/model.safetensors",
        "model.safetensors",
        "pytorch_model.safetensors",
        "model.pth",
    ],
)
def test_find_weights_in_a_folder(where, tmp_path, no_network):
    (tmp_path / where).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / where).touch()
    (tmp_path / "another.safetensors").touch()
    assert find_weights(AUGREG2, tmp_path) == tmp_path / where
    assert find_weights(AUGREG2, tmp_path / where) == tmp_path / where


def test_a_file_by_its_name_goes_first(tmp_path):
    for name in ("model.safetensors", f"{AUGREG2}.pth"):
        (tmp_path / name).touch()
    assert find_weights(AUGREG2, tmp_path).name == f"{AUGREG2}.pth"


def test_a_folder_without_it_says_what_is_there(tmp_path):
    with pytest.raises(InputError, match="got no weights"):
        find_weights(AUGREG2, tmp_path)
    (tmp_path / "b").mkdir()
    for name in ("a.pth", "b/model.safetensors", "notes.txt"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"got a\.pth, b/model\.safetensors; name the file with --weights"):
        find_weights(AUGREG2, tmp_path)
    with pytest.raises(InputError, match="do not exist"):
        find_weights(AUGREG2, tmp_path / "nowhere")


def test_offline_never_tries_the_network(no_network, monkeypatch):
    with pytest.raises(InputError, match=r"are not in the cache .* and the network is off; give --weights"):
        find_weights(AUGREG2, None, offline=True)
    monkeypatch.setenv("BENCH_OFFLINE", "1")
    with pytest.raises(InputError, match="the network is off"):
        find_weights(AUGREG2, None)


def test_what_is_in_the_cache_needs_no_network(no_network, tmp_path):
    commit = "0" * 40
    repository = tmp_path / "hub" / f"models--timm--{AUGREG2}"
    for folder in ("refs", f"snapshots/{commit}"):
        (repository / folder).mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots" / commit / "pytorch_model.bin").touch()
    assert find_weights(AUGREG2, None).name == "pytorch_model.bin"


def test_a_failed_download_is_one_line(no_network, monkeypatch):
    def fail(repository, file, *, local_files_only, **options):
        from huggingface_hub.errors import LocalEntryNotFoundError

        raise LocalEntryNotFoundError("not here") from (None if local_files_only else OSError("no route\nto host"))

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)
    with pytest.raises(InputError, match=rf"cannot download {AUGREG2} .*: no route to host; give --weights"):
        find_weights(AUGREG2, None)


@pytest.mark.parametrize(("value", "offline"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_offline_by_the_environment(value, offline, monkeypatch):
    monkeypatch.delenv("BENCH_OFFLINE", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert is_offline() is offline
    assert is_offline(True)


def test_unknown_timm_names(no_network):
    with pytest.raises(UnknownNameError, match=r"did you mean .*augreg2_in21k_ft_in1k"):
        timm_base("vit_base_patch16_224.augreg2_in21k_ft_in1")
    with pytest.raises(UnknownNameError, match="did you mean"):
        find_weights("vit_bse_patch16_224.augreg2_in21k_ft_in1k", None)


def test_what_timm_says_of_its_weights():
    fields = timm_base(AUGREG2)
    base = Base(**fields)
    assert base.name == AUGREG2
    assert (base.mean, base.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert (base.crop_share, base.interpolation, base.classes) == (0.9, "bicubic", 1000)
    assert timm_shape(AUGREG2) == (3, 224, 224)
    assert timm_shape("resnet50.a1_in1k") is None
    assert timm_base("vit_base_patch16_224") == fields
    assert timm_base("vit_base_patch16_224.augreg_in21k")["classes"] == 21843
    with pytest.raises(InputError, match="no classifier"):
        timm_base("vit_small_patch16_224.dino")


def test_saved_by_us_reads_back(state, tmp_path):
    save_file(state, tmp_path / "model.safetensors")
    assert load_file(tmp_path / "model.safetensors").keys() == read_state(tmp_path / "model.safetensors").keys()

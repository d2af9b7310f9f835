"""`bench doctor`: whatever a run would stumble over is a line before the run."""

import importlib
import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.makers import SYNSETS, encode, image_folder, noise, whole_validation

LINE = re.compile(r"(ok|warn|fail) +([A-Za-z_ -]+): (.+)")
SMALL = [  # the digits' network as if its weights came from outside
    "--set", "profile.base.recipe=null", "--set", "profile.base.pretrained=mine",
]  # fmt: skip


def lines(done, status: str) -> list[str]:
    """The report's lines of a status; every line has one, and what is not ok has advice."""
    *report, last = done.out.splitlines()
    found = [LINE.fullmatch(line) for line in report]
    assert all(found), done.out
    assert all("; " in match[3] for match in found if match[1] != "ok"), done.out
    of = [f"{match[2]}: {match[3]}" for match in found if match[1] == status]
    counts = {"ok": "ok", "warn": "warnings", "fail": "failures"}
    assert f"{len(of)} {counts[status]}" in last
    return of


def one(found: list[str], pattern: str) -> str:
    (line,) = [text for text in found if re.search(pattern, text)] or [f"no {pattern} in {found}"]
    assert re.search(pattern, line), line
    return line


@pytest.fixture
def whole_val(tmp_path):
    return whole_validation(tmp_path / "imagenet")


@pytest.fixture
def weights(tmp_path):
    """Writes weights of the digits' architecture."""
    from bench.core.profile import load_profile
    from bench.models.classifier import backbone

    def write(classes: int = 10, spoil: float | None = None) -> str:
        state = {k: v.contiguous() for k, v in backbone(load_profile("digits").base, classes, 0).state_dict().items()}
        if spoil is not None:
            state["norm.weight"] = torch.full_like(state["norm.weight"], spoil)
        save_file(state, tmp_path / "weights.safetensors")
        return str(tmp_path / "weights.safetensors")

    return write


def test_all_is_well_with_the_digits(cli, home, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    done = cli("doctor")
    assert done.code == 0, done.out
    assert lines(done, "fail") == []
    good = lines(done, "ok")
    one(good, r"^environment: torch .* with torchvision")
    one(good, r"^environment: robustbench")
    one(good, r"^data: test split: 500 images, 10 classes, digest [0-9a-f]{12}$")
    one(good, r"^data: train split: decoded 64 images spread over the split, 3 x 32 x 32")
    one(good, r"^disk: BENCH_HOME .* free, adversarial images of 500 images and models take up to")
    assert not Path("results").exists()


def test_a_base_that_is_trained_here_is_looked_up_and_never_trained(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "own"))
    short = ["--set", "profile.base.recipe.steps=3"]
    done = cli("doctor", *short)
    one(lines(done, "ok"), r"^weights: base vit_tiny_patch16_224 is not kept.* 3 steps$")
    one(lines(cli("doctor", *short, "--set", "profile.train_on_demand=false"), "warn"), r"is not kept.*bench train")
    assert not (tmp_path / "own").exists()
    run = ["run", "--defense", "plain", "--threat", "white-box", "--attack", "pgd", "--limit", "5"]
    assert cli(*run, *short).code == 0
    one(lines(cli("doctor", *short), "ok"), r"^weights: .*: kept, digest \w{12}, .* finite logits of 10 classes")
    (file,) = (tmp_path / "own" / "cache" / "models").rglob("model.safetensors")
    file.write_bytes(file.read_bytes()[:-4] + b"\0\0\0\1")
    done = cli("doctor", *short)
    assert done.code == 1
    one(lines(done, "fail"), r"^weights: cached checkpoint .* has SHA-256 .*--rebuild")


def test_imagenet_without_data(cli):
    done = cli("doctor", "--profile", "imagenet")
    assert done.code == 1
    one(lines(done, "fail"), r"^data: test split: imagenet needs your images; expected --data FOLDER")
    one(lines(done, "warn"), r"^data: train split: imagenet needs your images")
    one(lines(done, "warn"), r"^weights: .*not in the cache .*, so a run would download them; give --weights")
    offline = cli("doctor", "--profile", "imagenet", "--offline", "--limit", "5")
    one(lines(offline, "fail"), r"^weights: .*not in the cache .* and the network is off; give --weights")


def test_a_missing_class_a_missing_image_and_a_broken_one_are_each_named(cli, whole_val):
    val = whole_val / "val"
    for file in (val / SYNSETS[7]).iterdir():
        file.unlink()
    (val / SYNSETS[7]).rmdir()
    max((val / SYNSETS[20]).iterdir()).unlink()
    broken = val / SYNSETS[0] / "ILSVRC2012_val_00000001.JPEG"
    broken.unlink()
    broken.write_bytes(encode(noise(256, 256, 1))[:900])
    words = ["doctor", "--profile", "imagenet", "--data", str(whole_val)]
    done = cli(*words)
    assert done.code == 1
    bad = lines(done, "fail")
    one(bad, r"^data: test split: 49,949 images; expected 50,000")
    one(lines(done, "ok"), r"^data: test split: 49,949 images, 999 classes \(image files\), digest")
    one(bad, rf"^data: test split: class .*{SYNSETS[7]}.* has no images; expected 50.*--limit or --ids")
    one(bad, rf"^data: test split: class .*{SYNSETS[20]}.* has 49 images; expected 50")
    one(bad, r"^data: test split: image ILSVRC2012_val_00000001 cannot be read \(.*ILSVRC2012_val_00000001.JPEG")
    one(bad, r"^data: test split: 1 of 64 images spread over the split cannot be read; check every image")
    one(lines(done, "ok"), r"^data: test split: decoded 64 images .* 3 x 224 x 224 after preprocessing 'timm-eval'")
    one(lines(done, "warn"), r"^data: train split: ")
    Path("ids.txt").write_text("ILSVRC2012_val_00000051\nILSVRC2012_val_00000101\n")
    part = cli(*words, "--ids", "ids.txt", "--manifest", "data.json")  # a part on purpose, without the broken image
    assert part.code == 0, part.out
    (made,) = json.loads(Path("data.json").read_text()).items()  # there is no training split
    assert (made[0], made[1]["images"], made[1]["per_class"]["20"]) == ("test", 49_949, 49)
    assert "7" not in made[1]["per_class"]
    assert re.fullmatch(r"[0-9a-f]{64}", made[1]["digest"])
    one(lines(part, "warn"), r"49,949 images; expected 50,000; only a part is selected")
    one(lines(part, "ok"), r"^data: test split: 2 images are selected")


def test_every_image_is_looked_at_on_request(cli, tmp_path):
    root = image_folder(tmp_path / "own", n=5)
    good = ["doctor", "--profile", "image-folder", "--data", str(root), "--set", "profile.classes=2"]
    done = cli(*good, "--images", "2")
    assert done.code == 0, done.out
    one(lines(done, "ok"), r"^data: test split: decoded 2 images spread over the split")
    (root / "val/dog/val4.png").write_bytes(b"<html>")
    assert cli(*good, "--images", "2").code == 0
    done = cli(*good, "--images", "all")
    assert done.code == 1
    one(lines(done, "fail"), r"image dog/val4 cannot be read \(.*not an image file\); expected a complete JPEG")
    one(lines(done, "fail"), r"1 of all 10 images cannot be read")
    one(lines(cli(*good[:-1], "profile.classes=3"), "warn"), r"test split: 2 classes, and the profile has 3")


def test_images_of_another_shape(cli, tmp_path):
    root = image_folder(tmp_path / "own")
    words = ["--data", str(root), "--set", "profile.classes=2", "--preprocessing", "none"]
    done = cli("doctor", "--profile", "image-folder", *words)
    assert done.code == 1
    one(lines(done, "fail"), r"^data: test split: image .* is 70 x 80 after preprocessing 'none'")


def test_keys(cli, home):
    assert cli("key", "new", "dora").code == 0
    path = home / "keys" / "dora.key"
    secret = path.read_text().strip()
    assert cli("doctor", "--key", "dora").code == 0
    done = cli("doctor", "--key", "dorra")
    assert done.code == 1
    one(lines(done, "fail"), r"^keys: no key 'dorra' in .*; did you mean dora")
    path.chmod(0o644)
    done = cli("doctor")
    path.unlink()
    assert done.code == 1
    one(lines(done, "fail"), r"^keys: key file .*dora.key has mode 0644, so others can read it; expected 0600")
    assert secret not in done.out + done.err


def test_results_that_cannot_be_written(cli):
    done = cli("doctor", "--results", "/proc/x")
    assert done.code == 1
    one(lines(done, "fail"), r"^results: cannot write /proc/x: .*; expected a writable folder")


def test_a_full_disk(cli, monkeypatch):
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10**12, 10**12, 10**6))
    done = cli("doctor")
    assert done.code == 0
    one(lines(done, "warn"), r"^disk: BENCH_HOME .*: 1 MB free, and adversarial images .* take up to \d+ MB; set BENCH")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10**12, 10**12, 10))
    done = cli("doctor")
    assert done.code == 1
    one(lines(done, "fail"), r"^disk: BENCH_HOME")


def test_a_damaged_record_is_named(cli):
    run = ["run", "--defense", "plain", "--threat", "white-box", "--attack", "pgd", "--limit", "5"]
    assert cli(*run, "--set", "profile.base.recipe.steps=3").code == 0
    (record,) = Path("results").glob("*/record.json")
    one(lines(cli("doctor"), "ok"), r"^results: 1 records can be read")
    record.write_text("{")
    done = cli("doctor")
    assert done.code == 0
    one(lines(done, "warn"), rf"^results: record {record.parent.name} is damaged")


def test_weights_that_are_a_web_page(cli, tmp_path):
    page = tmp_path / "model.safetensors"
    page.write_text("<!DOCTYPE html><html>not found</html>")
    done = cli("doctor", "--profile", "imagenet", "--weights", str(page))
    assert done.code == 1
    one(lines(done, "fail"), r"^weights: .*model.safetensors is a web page, not weights; download it again")
    done = cli("doctor", "--profile", "imagenet", "--weights", "nowhere")
    one(lines(done, "fail"), r"^weights: base: weights nowhere do not exist; expected")


def test_weights_are_really_loaded(cli, weights):
    done = cli("doctor", *SMALL, "--weights", weights())
    assert done.code == 0, done.out
    one(lines(done, "ok"), r"^weights: base .*SHA-256 \w{12} not pinned.* finite logits of 10 classes on 2 images")
    done = cli("doctor", *SMALL, "--weights", weights(classes=12))
    assert done.code == 1
    one(lines(done, "fail"), r"^weights: .* holds 12 classes .*; give weights with that many classes")
    one(lines(cli("doctor", *SMALL, "--weights", weights(spoil=float("nan"))), "fail"), r"has NaN or infinity")
    one(lines(cli("doctor", *SMALL, "--weights", weights(spoil=3e38)), "fail"), r"logits are not finite")
    pin = ["--set", f"profile.base.sha256={'ab' * 32}"]
    one(lines(cli("doctor", *SMALL, *pin, "--weights", weights()), "fail"), r"^weights: .*SHA-256 .*expected ababab")
    one(lines(cli("doctor", "--weights", weights()), "fail"), r"is trained locally from scratch; leave --weights out")


def test_the_start_of_fine_tuning_is_looked_for_too(cli, weights, tmp_path):
    from bench.core.profile import load_profile

    base = load_profile("digits").base.model_dump(mode="json") | {"recipe": None, "pretrained": "other"}
    folder, name = tmp_path / "zoo", "vit_tiny_patch16_224"
    folder.mkdir()
    Path(weights()).rename(folder / f"{name}.mine.safetensors")
    words = [*SMALL, "--set", f"profile.start={json.dumps(base)}", "--weights", str(folder)]
    done = cli("doctor", *words)
    assert done.code == 1
    one(lines(done, "ok"), rf"^weights: base {name}.mine: .*finite logits")
    one(lines(done, "fail"), rf"^weights: start: folder .*zoo holds no {name}.other: expected ")
    Path(weights()).rename(folder / f"{name}.other.safetensors")
    done = cli("doctor", *words)
    assert done.code == 0
    one(lines(done, "ok"), rf"^weights: start {name}.other: .*finite logits")


def test_broken_plugins_are_warned_of(cli, outsiders):
    done = cli("doctor")
    assert done.code == 0, done.out
    bad = lines(done, "warn")
    one(
        bad,
        r"^plug-ins: attack broken-import of outsiders 1.0 cannot be imported \(RuntimeError: this plug-in does not",
    )
    one(bad, r"^plug-ins: attack missing-module of outsiders 1.0 .*ModuleNotFoundError")


def test_the_torchvision_trap(cli, monkeypatch):
    real = importlib.import_module

    def trap(name, package=None):
        if name == "torchvision":
            raise RuntimeError("operator torchvision::nms does not exist")
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", trap)
    done = cli("doctor")
    assert done.code == 1
    one(lines(done, "fail"), r"torchvision::nms does not exist\); .*install both from one index, `pip install")


def test_a_check_that_breaks_is_a_finding_and_the_others_go_on(cli, monkeypatch):
    def broken(subject):
        raise ZeroDivisionError("of all things")
        yield

    monkeypatch.setattr("bench.doctor.keys.check", broken)
    done = cli("doctor")
    assert done.code == 1
    one(lines(done, "fail"), r"^keys: ZeroDivisionError: of all things; ")
    one(lines(done, "ok"), r"^results: ")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--profile", "digit"], r"^profile: unknown profile 'digit'; did you mean digits"),
        (["--set", "defense.block_size=8"], r"^profile: setting 'defense.block_size' is not a profile setting"),
        (["--device", "cuda:99"], r"^device: 'cuda:99' cannot be used"),
        (["--device", "gpu"], r"^device: 'gpu' cannot be used"),
    ],
)
def test_flags_that_cannot_be(cli, words, says):
    done = cli("doctor", *words)
    assert done.code == 1
    one(lines(done, "fail"), says)


def test_a_gpu_that_is_not_asked_for(cli, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A GPU")
    monkeypatch.setenv("OMP_NUM_THREADS", "10000")
    done = cli("doctor")
    assert done.code == 0
    one(lines(done, "warn"), r"^device: A GPU is available but not used; give --device cuda")
    one(lines(done, "warn"), r"^threads: OMP_NUM_THREADS is 10000 on \d+ cores")


def test_json_is_the_same_report(cli):
    plain, done = cli("doctor", "--results", "/proc/x"), cli("doctor", "--results", "/proc/x", "--json")
    assert done.code == plain.code == 1
    found = json.loads(done.out)
    assert all(set(f) == {"status", "about", "finding", "advice"} for f in found)
    assert len(found) == len(plain.out.splitlines()) - 1
    for status in ("ok", "warn", "fail"):
        told = [f"{f['about']}: {f['finding']}" + (f"; {f['advice']}" if f["advice"] else "") for f in found]
        assert [t for t, f in zip(told, found, strict=True) if f["status"] == status and "free" not in t] == [
            line for line in lines(plain, status) if "free" not in line
        ]


def test_images_is_a_number_or_all(cli):
    done = cli("doctor", "--images", "some")
    assert done.code == 2
    assert "--images is 'some'; expected a number of 1 or more, or all" in done.err

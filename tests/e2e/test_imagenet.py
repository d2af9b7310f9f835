"""ImageNet from end to end on generated JPEGs: real readers, real architectures, weights from local files."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
import timm
import torch
from safetensors.torch import save_file

from tests.makers import (
    SYNSETS,
    class_folders,
    devkit,
    encode,
    flat,
    noise,
    parquet,
    photos,
    synset_list,
    val_tar,
    webdataset,
    whole_validation,
)

ROOT = Path(__file__).parents[2]
TINY = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
ATTACK = ("--attack", "pgd", "--set", "attack.steps=2")
# What is asked here is what is read and refused: one block of the twelve, and batches of a few images, will do.
SMALL = ("--set", "profile.base.arguments.depth=1", "--set", "profile.judge_batch=4")
LAYOUTS = {
    "class folders": lambda root, p: class_folders(root / "val", p),
    "flat and kit": lambda root, p: (flat(root / "val", p), devkit(root, p)),
    "flat and list": lambda root, p: (flat(root / "val", p), synset_list(root / "synset_labels.txt", p)),
    "tar and kit": lambda root, p: (val_tar(root, p), devkit(root, p)),
    "parquet": lambda root, p: parquet(root / "data", p),
    "webdataset": webdataset,
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """Random weights of a ViT at 224 x 224, of one block."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / f"{TINY}.safetensors"
    save_file(timm.create_model(TINY.split(".", maxsplit=1)[0], depth=1).state_dict(), path)
    return path


def run(data: Path, weights: Path, *more: str) -> list[str]:
    return ["run", "--profile", "imagenet", "--base", TINY, "--defense", "plain", "--threat", "white-box", *ATTACK,
            *SMALL, "--data", str(data), "--weights", str(weights), "--offline", *more]  # fmt: skip


def test_the_same_images_in_every_layout_are_the_same_record(cli, tmp_path, weights):
    records, rows = {}, {}
    for layout, make in LAYOUTS.items():
        folder = tmp_path / layout
        folder.mkdir()
        make(folder, photos(6))
        done = cli(*run(folder, weights, "--limit", "4", "--results", f"results {layout}", "--json"))
        assert done.code == 0, done.err
        records[layout] = json.loads(done.out)
        rows[layout] = pd.read_parquet(next(Path(f"results {layout}").glob("*/verdicts.parquet")))
    assert len({r["digests"]["data"] for r in records.values()}) == 1
    assert len({r["run_id"] for r in records.values()}) == 1  # where the images lie is no part of what was asked
    assert len({r["digests"]["verdicts"] for r in records.values()}) == 1
    first = records["parquet"]
    assert first["metrics"]["images"] == 4
    chosen = first["spec"]["profile"]["preprocessing"]
    assert chosen == {"name": "timm-eval", "resize": 248, "interpolation": "bicubic", "crop": 224}
    assert any("incomplete: 6 images; expected 50,000" in note for note in first["notes"])
    table = rows["parquet"]
    assert table.image_id.tolist() == sorted(p.id for p in photos(6))[:4]
    assert table.label.tolist() == [p.label for p in sorted(photos(6), key=lambda p: p.id)[:4]]
    assert table.image_sha256.is_unique


def test_ids_and_presets_are_part_of_what_was_judged(cli, tmp_path, weights):
    class_folders(tmp_path / "val", photos(5))
    wanted = [photos(5)[i] for i in (3, 1)]
    Path("ids.txt").write_text("".join(f"{p.wnid}/{p.id}.JPEG\n" for p in wanted))
    made = {}
    for name in ("timm-eval", "resize-224", "BicubicRes256Crop224"):
        done = cli(*run(tmp_path, weights, "--ids", "ids.txt", "--preprocessing", name, "--json"))
        assert done.code == 0, done.err
        made[name] = json.loads(done.out)
        assert made[name]["spec"]["profile"]["preprocessing"]["name"] == name
        assert made[name]["spec"]["ids"] == {**made[name]["spec"]["ids"], "name": "ids.txt", "count": 2}
        table = pd.read_parquet(f"results/{made[name]['run_id']}/verdicts.parquet")
        assert table.image_id.tolist() == [p.id for p in wanted]
    assert len({m["digests"]["data"] for m in made.values()}) == 3
    verify = ("results", "verify", made["timm-eval"]["run_id"], "--weights", str(weights))
    assert "every verdict confirmed" in cli(*verify, "--data", str(tmp_path)).out
    other = tmp_path / "other"
    class_folders(other / "val", [*photos(3), *photos(5)[4:]])
    (other / "val" / wanted[0].wnid).mkdir()
    (other / "val" / wanted[0].wnid / f"{wanted[0].id}.JPEG").write_bytes(encode(noise(300, 300, 77)))
    changed = cli(*verify, "--data", str(other))
    assert changed.code == 1
    # Adversarial images are addressed by the pixels that they were made from.
    assert f"the adversarial images of {wanted[0].id} .. {wanted[1].id} are not kept" in changed.err


def test_a_corrupt_image_is_counted_and_named_and_read_again_once_it_is_whole(cli, tmp_path, weights):
    pictures = photos(6)
    class_folders(tmp_path / "val", pictures)
    bad = sorted(pictures, key=lambda p: p.id)[2]
    path = tmp_path / "val" / bad.wnid / f"{bad.id}.JPEG"
    path.write_bytes(bad.data[:800])
    argv = run(tmp_path, weights, "--limit", "6", "--set", "profile.shard_size=4", "--json")
    done = cli(*argv)
    assert done.code == 1
    assert len([line for line in done.err.splitlines() if bad.id in line]) == 1
    record = json.loads(done.out)
    assert record["metrics"]["images"] == 6
    assert record["metrics"]["outcomes"]["error"] == 1
    assert not record["eligible"]
    assert any(f"image {bad.id} cannot be read" in text for text in record["warnings"])
    (table,) = [pd.read_parquet(p) for p in Path("results").glob("*/verdicts.parquet")]
    row = table[table.image_id == bad.id].iloc[0]
    assert (row.outcome, row.label) == ("error", bad.label)
    assert pd.isna(row.image_sha256)
    path.write_bytes(bad.data)
    again = cli(*argv)
    assert again.code == 0, again.err
    assert json.loads(again.out)["metrics"]["outcomes"]["error"] == 0
    assert json.loads(again.out)["cost"]["shards_reused"] >= 1  # the shard without the broken image


def test_a_run_over_all_images_wants_all_images(cli, tmp_path, weights):
    root = whole_validation(tmp_path / "whole")
    max((root / "val" / SYNSETS[20]).iterdir()).unlink()
    says = {"one image too few": r"49,999 images; expected 50,000.*--limit or --ids"}
    for name, pattern in says.items():
        done = cli(*run(root, weights))
        assert done.code == 2, name
        assert re.search(pattern, done.err), done.err
        assert len(done.err.splitlines()) == 1
    for file in (root / "val" / SYNSETS[7]).iterdir():
        file.unlink()
    (root / "val" / SYNSETS[7]).rmdir()
    done = cli("doctor", "--profile", "imagenet", "--data", str(root), "--images", "1", "--offline")
    assert done.code == 1
    assert re.search(rf"class .*{SYNSETS[7]}.* has no images; expected 50", done.out)
    assert not Path("results").exists()


BAD_DATA = {
    "a file": (
        lambda root: (root / "picture.jpg").write_bytes(b"x"),
        "picture.jpg",
        r"is a file; expected the folder",
    ),
    "nowhere": (lambda root: None, "nowhere", r"nowhere does not exist"),
    "empty": (lambda root: (root / "empty").mkdir(), "empty", r"holds no images of ImageNet's test split"),
    "no labels": (lambda root: flat(root / "val", photos(4)), ".", r"label"),
    "labels too short": (
        lambda root: (flat(root / "val", photos(4)), synset_list(root / "synset_labels.txt", photos(3))),
        ".",
        r"synset_labels.txt.*\b3\b.*\b4\b",
    ),
    "no synset": (lambda root: (root / "val" / "cats").mkdir(parents=True), ".", r"cats|holds no images"),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_is_one_clear_line(cli, tmp_path, weights, case):
    make, where, says = BAD_DATA[case]
    make(tmp_path)
    done = cli(*run(tmp_path / where, weights, "--limit", "2"))
    assert done.code == 2
    assert len(done.err.splitlines()) == 1, done.err
    assert re.search(says, done.err), done.err
    assert not Path("results").exists()


BAD_WEIGHTS = {
    "a web page": (b"<!DOCTYPE html><html>sign in</html>", r"web page"),
    "cut short": (None, r"cut|truncated|more bytes|bytes"),
    "nothing": (b"", r"empty"),
}


@pytest.mark.parametrize("case", BAD_WEIGHTS)
def test_bad_weights_are_one_clear_line(cli, tmp_path, weights, case):
    content, says = BAD_WEIGHTS[case]
    class_folders(tmp_path / "val", photos(3))
    bad = tmp_path / "weights.safetensors"
    bad.write_bytes(weights.read_bytes()[:100_000] if content is None else content)
    done = cli(*run(tmp_path, bad, "--limit", "2"))
    assert done.code == 2
    assert len(done.err.splitlines()) == 1, done.err
    assert re.search(says, done.err), done.err


def test_weights_are_pinned_by_digest_and_the_network_is_left_alone(cli, tmp_path, weights, monkeypatch):
    import socket

    def refuse(*_args, **_more):
        raise AssertionError("the network was tried")

    monkeypatch.setattr(socket, "socket", refuse)
    class_folders(tmp_path / "val", photos(3))
    done = cli(*run(tmp_path, weights, "--limit", "2", "--set", f"profile.base.sha256={'ab' * 32}"))
    assert done.code == 2
    assert re.search(r"SHA-256.*abababababab", done.err)
    argv = [word for word in run(tmp_path, weights, "--limit", "2") if word not in ("--weights", str(weights))]
    done = cli(*argv)
    assert done.code == 2
    assert "not in the cache" in done.err
    assert "--weights" in done.err


BAD_FLAGS = {
    "images of 384": (
        ["--base", "vit_base_patch16_384.augreg_in21k_ft_in1k"],
        r"takes images of \[3, 384, 384\].*image_shape",
    ),
    "unknown base": (
        ["--base", "vit_base_patch16_224.augreg3"],
        r"no weights 'vit_base_patch16_224.augreg3'; did you mean",
    ),
    "unknown preset": (["--preprocessing", "timm-evil"], r"unknown preprocessing 'timm-evil'; did you mean timm-eval"),
    "no list": (["--ids", "robustbench-500"], r"is not a readable file; did you mean robustbench-5000"),
    "ids elsewhere": (["--ids", "robustbench-5000"], r"5000 of 5000 wanted images are not in the data"),
    "unknown zoo model": (
        ["--defense", "robustbench", "--set", "defense.model=Liu2023_Swin-L"],
        r"unknown RobustBench model 'Liu2023_Swin-L'; did you mean",
    ),
}


@pytest.mark.parametrize("case", BAD_FLAGS)
def test_bad_flags_are_one_clear_line(cli, tmp_path, weights, case):
    more, says = BAD_FLAGS[case]
    class_folders(tmp_path / "val", photos(3))
    done = cli(*run(tmp_path, weights, *more))
    assert done.code == 2
    assert len(done.err.splitlines()) == 1, done.err
    assert re.search(says, done.err), done.err


ROWS = {  # what stands in for the weights of each row: a file of random weights, and how it is found
    "plain": "vit_base_patch16_224.augreg2_in21k_ft_in1k",
    "key-full-p4": "vit_base_patch16_224.augreg2_in21k_ft_in1k",
    "key-full-p8": "vit_base_patch16_224.augreg2_in21k_ft_in1k",
    "key-full-p16": "vit_base_patch16_224.augreg2_in21k_ft_in1k",
    "key-lora-p4": "vit_base_patch16_224.augreg2_in21k_ft_in1k",
    "key-lora-p8": "vit_base_patch16_224.augreg2_in21k_ft_in1k",
    "key-lora-p16": "vit_base_patch16_224.augreg2_in21k_ft_in1k",
    "convmixer-partial-p7": "convmixer_768_32.in1k",
    "resnet50-full-p4": "resnet50.tv_in1k",
    "swin-l-at": "Liu2023Comprehensive_Swin-L",
    "convnext-l-at": "Liu2023Comprehensive_ConvNeXt-L",
    "convnext-l-convstem-at": "Singh2023Revisiting_ConvNeXt-L-ConvStem",
}
LARGE = {"swin-l-at", "convnext-l-at", "convnext-l-convstem-at"}


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory):
    """Writes random weights of a model once, as the file that the real ones come in."""
    from bench.models.zoo import zoo_network

    folder, written = tmp_path_factory.mktemp("zoo"), set()

    def write(name: str) -> Path:
        if name not in written:
            torch.manual_seed(0)
            if "." in name:
                save_file(
                    timm.create_model(name.split(".", maxsplit=1)[0]).state_dict(), folder / f"{name}.safetensors"
                )
            else:
                network = zoo_network(name).network
                torch.save({f"module.{k}": v for k, v in network.state_dict().items()}, folder / f"{name}.pt")
            written.add(name)
        return folder

    return write


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
def test_every_row_of_table_1_runs_from_end_to_end(cli, tmp_path, monkeypatch, random_weights, row):
    """Two JPEGs, random weights from a local file, a training step where the row trains; large ones skip the attack."""
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    class_folders(tmp_path / "data" / "val", photos(2))
    class_folders(tmp_path / "data" / "train", photos(3, train=True))
    Path("ids.txt").write_text("".join(f"{p.id}\n" for p in photos(2)))
    argv = ["run", "--config", str(ROOT / f"configs/imagenet/{row}.yaml"), "--data", str(tmp_path / "data")]
    argv += ["--weights", str(random_weights(ROWS[row])), "--offline", "--train", "--ids", "ids.txt", "--json"]
    for kind in ("full", "lora", "partial"):
        argv += ["--set", f"profile.recipes.{kind}.steps=1", "--set", f"profile.recipes.{kind}.batch_size=2"]
    argv += ["--set", "profile.judge_batch=2"]
    argv += ["--eps", "0"] if row in LARGE else ["--attack", "pgd", "--set", "attack.steps=1"]
    done = cli(*argv)
    record = json.loads(done.out)
    assert record["metrics"]["images"] == 2
    assert record["metrics"]["outcomes"]["error"] == record["metrics"]["outcomes"]["invalid"] == 0
    assert record["eligible"] == record["reliable"]
    assert done.code == (0 if record["reliable"] else 1), done.err  # the audit may doubt weights that nobody trained
    options = record["spec"]["defense"]["options"]
    assert options.get("block_size", 0) == int(match[1] if (match := re.search(r"-p(\d+)$", row)) else 0)
    preset = record["spec"]["profile"]["preprocessing"]["name"]
    assert preset == ("BicubicRes256Crop224" if row in LARGE else "timm-eval")

"""`bench train`: a small ViT from a local checkpoint on real files, killed, resumed, shared by two processes."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.makers import encode, noise

STEPS, BATCH, CLASSES = 50, 12, 3
NAME = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
ARGUMENTS = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 4}
RECIPE = {
    "steps": STEPS, "batch_size": BATCH, "learning_rate": 0.05, "optimizer": "sgd", "schedule": "cosine", "warmup": 5,
    "augmentation": {"crop": [0.3, 1.0], "flip": 0.5, "shift": 1.0, "noise": 0.02},
}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """A folder with images of three colours, weights of a small ViT, and a profile that starts from them."""
    import timm

    root = tmp_path_factory.mktemp("world")
    for split, count in (("train", 20), ("test", 4)):
        for c in range(CLASSES):
            folder = root / "images" / split / f"class-{c}"
            folder.mkdir(parents=True)
            for i in range(count):
                image = noise(48 + c, 40 + i, seed=1000 * c + i + (500 if split == "test" else 0))
                bands = [b.point(lambda v, k=k, c=c: v // 2 + 120 * (k == c)) for k, b in enumerate(image.split())]
                (folder / f"{i}.jpg").write_bytes(encode(Image.merge("RGB", bands)))
    torch.manual_seed(0)
    network = timm.create_model("vit_tiny_patch16_224", num_classes=7, **ARGUMENTS)
    save_file(network.state_dict(), root / "vit.safetensors")
    base = {"architecture": "vit_tiny_patch16_224", "arguments": ARGUMENTS, "pretrained": NAME.split(".")[1],
            "classes": 7, "mean": [0.5] * 3, "std": [0.5] * 3}  # fmt: skip
    profile = {
        "name": "small", "summary": "three colours", "dataset": "image-folder", "classes": CLASSES,
        "image_shape": [3, 32, 32], "base": base, "budgets": {"linf": "8/255"},
        "preprocessing": {"name": "squeezed", "resize": [32, 32]}, "train_on_demand": False,
        "recipes": {"full": RECIPE, "lora": RECIPE, "partial": RECIPE}, "batch_size": 12, "shard_size": 12,
    }  # fmt: skip
    (root / "small.yaml").write_text(yaml.safe_dump(profile))
    return root


def flags(world: Path, *, defense: str = "key-full") -> list[str]:
    given = ["--profile", world / "small.yaml", "--data", world / "images", "--weights", world / "vit.safetensors"]
    return ["--defense", defense, *map(str, given)]


def logged(path: str) -> list[dict[str, str]]:
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def trained(cli, *argv: str) -> list[dict]:
    done = cli("train", *argv, "--json", "--readers", "0")
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_killed_in_the_middle_and_resumed_gives_the_same_weights(cli, spawn, own_home, world, monkeypatch):
    (unbroken,) = trained(cli, *flags(world))
    assert float(logged(unbroken["log"])[-1]["loss"]) < 0.7 < 1.0 < float(logged(unbroken["log"])[0]["loss"])
    monkeypatch.setenv("BENCH_HOME", str(own_home.parent / "killed"))
    argv = ("train", *flags(world), "--checkpoint-every", "3", "--readers", "0", "--json")
    process = spawn(*argv)
    checkpoints = own_home.parent / "killed" / "cache" / "training"
    while not list(checkpoints.rglob("checkpoint.pt")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not list((own_home.parent / "killed" / "cache" / "models").rglob("manifest.json"))
    done = cli(*argv)
    (resumed,) = json.loads(done.out)
    assert "of them done" in done.err
    assert resumed["digest"] == unbroken["digest"]
    ours, theirs = (load_file(Path(m["folder"]) / "model.safetensors") for m in (resumed, unbroken))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    rows = [[(row["step"], row["loss"], row["learning_rate"]) for row in logged(m["log"])] for m in (resumed, unbroken)]
    assert rows[0] == rows[1]
    assert [int(step) for step, *_ in rows[0]] == list(range(1, STEPS + 1))
    assert not list(checkpoints.rglob("checkpoint.pt"))  # done with


def test_two_processes_share_a_step_and_parts_accumulate(cli, own_home, world):
    (alone,) = trained(cli, *flags(world))
    argv = ["train", *flags(world), "--json", "--readers", "0", "--micro-batch", "3"]
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2",
              "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
              "--main_process_ip", "127.0.0.1", "--main_process_port", "0", "-m", "bench"]  # fmt: skip
    env = {**os.environ, "BENCH_HOME": str(own_home.parent / "two"), "MASTER_ADDR": "127.0.0.1",
           "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}  # fmt: skip
    done = subprocess.run([*launch, *argv], env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (shared,) = json.loads(done.stdout[done.stdout.index("[") :])
    losses = [[float(row["loss"]) for row in logged(m["log"])] for m in (alone, shared)]
    assert len(losses[0]) == len(losses[1]) == STEPS
    assert max(abs(a - b) for a, b in zip(*losses, strict=True)) < 1e-3
    ours, theirs = (load_file(Path(m["folder"]) / "model.safetensors") for m in (alone, shared))
    assert all((ours[name] - theirs[name]).abs().max() < 1e-3 for name in ours)


def test_worker_processes_change_nothing(cli, own_home, world, monkeypatch):
    (alone,) = trained(cli, *flags(world))
    monkeypatch.setenv("BENCH_HOME", str(own_home.parent / "workers"))
    done = cli("train", *flags(world), "--json", "--readers", "2")
    assert json.loads(done.out)[0]["digest"] == alone["digest"]


def test_many_keys_and_the_adversarys_models_in_one_go(cli, own_home, world):
    short = ("--set", "profile.recipes.lora.steps=2", "--set", "defense.rank=2")
    argv = [*flags(world, defense="key-lora"), *short]
    made = trained(cli, *argv, "--keys", "2", "--substitutes", "1", "--siblings", "1")
    roles = [(m["seed"], m["role"]) for m in made]
    assert roles == [(s, r) for s in (0, 1) for r in ("target", "substitute 0", "device 1")]
    assert len({m["fingerprint"] for m in made}) == len({m["digest"] for m in made}) == 6
    again = trained(cli, *argv, "--keys", "2", "--substitutes", "1")
    assert [m["digest"] for m in again] == [m["digest"] for m in made if "device" not in m["role"]]

    run = ("run", *argv, "--threat", "adaptive", "--attack", "pgd", "--seed", "1", "--json")
    record = json.loads(cli(*run).out)
    assert record["digests"]["target"] == made[3]["digest"]
    assert record["digests"]["source"] == made[4]["digest"]
    (world / "images" / "train").rename(world / "images" / "gone")
    try:  # evaluating needs no training images: the model is kept
        alone = json.loads(cli(*run, "--results", "other").out)
        assert alone["digests"] == record["digests"]
        assert sum("without its training inputs" in note for note in alone["notes"]) == 2
        missing = cli(*run, "--seed", "5", "--results", "other")
    finally:
        (world / "images" / "gone").rename(world / "images" / "train")
    assert missing.code == 2
    assert "no trained model is kept, and there is nothing to train it on" in missing.err


def test_an_evaluation_does_not_begin_a_long_training(cli, own_home, world):
    run = ("run", *flags(world), "--threat", "white-box", "--attack", "pgd", "--json")
    refused = cli(*run)
    assert refused.code == 2
    assert "expected `bench train` with the same flags first, or --train" in refused.err
    assert cli(*run, "--train").code == 0


def test_fine_tuning_may_start_from_another_model_than_the_attacked_one(cli, own_home, world, tmp_path):
    import timm

    (tmp_path / f"{NAME}.safetensors").write_bytes((world / "vit.safetensors").read_bytes())
    torch.manual_seed(9)
    other = timm.create_model("vit_tiny_patch16_224", num_classes=11, **ARGUMENTS)
    save_file(other.state_dict(), tmp_path / "vit_tiny_patch16_224.augreg_in21k.safetensors")
    start = {"architecture": "vit_tiny_patch16_224", "arguments": ARGUMENTS, "pretrained": "augreg_in21k",
             "classes": 11, "mean": [0.5] * 3, "std": [0.5] * 3}  # fmt: skip
    argv = [*flags(world)[:-2], "--weights", str(tmp_path), "--set", "profile.recipes.full.steps=2"]
    run = ("run", *argv, "--threat", "non-adaptive", "--attack", "pgd", "--train", "--json")
    same, elsewhere = (
        json.loads(cli(*run, *more).out) for more in ([], ["--set", f"profile.start={json.dumps(start)}"])
    )
    assert same["digests"]["source"] == elsewhere["digests"]["source"]
    assert same["digests"]["target"] != elsewhere["digests"]["target"]
    assert elsewhere["spec"]["profile"]["start"]["sha256"] != same["spec"]["profile"]["base"]["sha256"]


def test_a_subset_is_a_share_of_every_class_and_another_model(cli, own_home, world):
    argv = [*flags(world), "--set", "profile.recipes.full.steps=2"]
    (whole,), (part,) = trained(cli, *argv), trained(cli, *argv, "--subset", "0.2")
    assert whole["digest"] != part["digest"]
    made_from = json.loads((Path(part["folder"]) / "manifest.json").read_text())["made_from"]
    assert made_from["recipe"]["subset"] == 0.2


@pytest.mark.parametrize("embeddings", [1, 3])
def test_partial_moves_only_the_patch_embedding_and_the_head(cli, own_home, world, embeddings):
    argv = [*flags(world, defense="key-partial"), "--set", f"defense.embeddings={embeddings}"]
    (made,) = trained(cli, *argv, "--set", "profile.recipes.partial.steps=5")
    files = sorted(Path(made["folder"]).rglob("*.safetensors"))
    assert len(files) == embeddings
    for file in files:
        assert {name.split(".")[0] for name in load_file(file)} == {"patch_embed", "head"}
    if embeddings > 1:
        states = [load_file(file)["patch_embed.proj.weight"] for file in files]
        assert not torch.equal(states[0], states[1])
    run = ("run", *argv, "--set", "profile.recipes.partial.steps=5", "--threat", "white-box", "--attack", "pgd")
    records = [json.loads(cli(*run, "--batch-size", size, "--results", size, "--json").out) for size in ("3", "12")]
    assert records[0]["metrics"] == records[1]["metrics"]  # which embedding answers does not depend on the batch


BAD = {
    "does not divide": (["--micro-batch", "5"], r"batch of 12 does not divide into 1 processes with 5 images at once"),
    "nothing to train": (["--defense", "plain"], r"defense plain trains nothing"),
    "key and keys": (["--key", "a", "--keys", "2"], r"--key names one key and --keys asks for 2"),
    "subset": (["--subset", "1.5"], r"recipes.full.subset"),
    "no weights": (["--weights", "none.safetensors"], r"none.safetensors"),
    "no data": (["--data", "nowhere"], r"nowhere does not exist"),
    "classes": (["--set", "profile.classes=2"], r"the data has 3 classes.*profile.classes=3"),
    "another architecture": (["--base", "resnet18.a1_in1k"], r"not of the architecture resnet18"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_leaves_nothing(cli, own_home, world, case):
    more, says = BAD[case]
    done = cli("train", *flags(world), *more)
    lines = [line for line in done.err.splitlines() if not line.startswith("fine-tune")]
    assert done.code == 2, done.err
    assert len(lines) == 1, done.err
    assert re.search(says, lines[0]), lines[0]
    assert not list(own_home.rglob("manifest.json"))


def test_tensorboard_is_optional_and_named_when_it_is_missing(cli, own_home, world):
    import importlib.util

    done = cli("train", *flags(world), "--set", "profile.recipes.full.steps=2", "--tensorboard")
    if importlib.util.find_spec("tensorboard"):
        assert list(own_home.rglob("events.out.tfevents*"))
    else:
        assert done.code == 2
        assert "TensorBoard is not installed" in done.err

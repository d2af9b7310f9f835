"""Images per second of full and LoRA fine-tuning of ViT-B/16 with `bench train`, and the minutes for 20,000 steps.

    python benchmarks/training.py --device cuda --steps 60 --readers 16

Photos are generated in class folders and weights are random: neither affects the time of a step. The first half of the
steps is warm-up and not counted.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import timm
from data_path import photo
from safetensors.torch import save_file

from bench.data.synsets import synset_labels

BASE = "vit_base_patch16_224.augreg2_in21k_ft_in1k"
WHOLE, BATCH = 20_000, 512  # AugReg's fine-tuning, as the profile has it


def main() -> None:
    """Make the data and the weights, train, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=BATCH, help="images of a step")
    parser.add_argument("--micro-batch", type=int, default=None)
    parser.add_argument("--readers", type=int, default=max(1, (os.cpu_count() or 2) - 1))
    parser.add_argument("--images", type=int, default=2048)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make(root, given.images)
        print(f"{'defense':10} {'images/s':>9} {'minutes for 20,000 steps of 512':>32}")
        for defense in ("key-full", "key-lora"):
            rate = measure(root, defense, given)
            print(f"{defense:10} {rate:9.1f} {WHOLE * BATCH / rate / 60:32.0f}", flush=True)


def make(root: Path, count: int) -> None:
    """train/WNID/NAME.JPEG, and a file of random weights."""
    synsets, pictures = list(synset_labels()), [photo(i) for i in range(min(count, 64))]
    for i in range(count):
        path = root / "data" / "train" / synsets[i % 1000] / f"{synsets[i % 1000]}_{i}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pictures[i % len(pictures)])
    save_file(timm.create_model(BASE.split(".", maxsplit=1)[0]).state_dict(), root / f"{BASE}.safetensors")


def measure(root: Path, defense: str, given: argparse.Namespace) -> float:
    """Median images per second of the second half of the steps."""
    recipe = f"profile.recipes.{defense.removeprefix('key-')}"
    command = [sys.executable, "-W", "ignore", "-m", "bench", "train", "--profile", "imagenet", "--defense", defense,
               "--data", str(root / "data"), "--weights", str(root / f"{BASE}.safetensors"), "--offline", "--json",
               "--device", given.device, "--readers", str(given.readers),
               "--set", f"{recipe}.steps={given.steps}", "--set", f"{recipe}.batch_size={given.batch}"]  # fmt: skip
    if given.micro_batch:
        command += ["--micro-batch", str(given.micro_batch)]
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "BENCH_HOME": str(root / "home")}
    )
    with Path(json.loads(done.stdout)[0]["log"]).open(newline="") as file:
        rates = [float(row["images_per_second"]) for row in csv.DictReader(file)]
    return statistics.median(rates[len(rates) // 2 :])


if __name__ == "__main__":
    main()

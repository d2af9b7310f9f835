"""What makes a run another run: its images, the images its models are trained on, and the code of its plug-ins."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import BENCH
from tests.makers import class_folders, parquet, photos, webdataset

SMALL = ("--profile", "digits", "--set", "profile.dataset=image-folder", "--set", "profile.image_shape=[3,8,8]",
         "--set", "profile.base.arguments={img_size: 8, patch_size: 4, embed_dim: 12, depth: 1, num_heads: 1}",
         "--set", "profile.base.recipe.steps=1", "--set", "profile.classes=2", "--threat", "white-box",
         "--attack", "pgd", "--set", "attack.steps=1", "--json")  # fmt: skip
RUN = ("run", *SMALL, "--defense", "plain")


def folder(root: Path, *levels: int, seed: int = 0, number: int = 3) -> Path:
    """Images of one brightness for each class, in both splits."""
    draws = np.random.default_rng(seed)
    for split in ("train", "test"):
        for name, level in zip("ab", levels, strict=True):
            (root / split / name).mkdir(parents=True, exist_ok=True)
            for i in range(number):
                image = np.clip(draws.normal(level, 20, (8, 8, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(image).save(root / split / name / f"i{i}.png")
    return root


@pytest.fixture
def record(cli, own_home):
    """The record that a command prints."""

    def call(*argv: str) -> dict:
        done = cli(*argv)
        assert done.code in (0, 1), done.err
        return {**json.loads(done.out), "stderr": done.err}

    return call


def test_another_folder_is_another_run_and_a_missing_one_is_refused(cli, record, tmp_path):
    one, two = folder(tmp_path / "one", 60, 190), folder(tmp_path / "two", 190, 60, number=4)
    first, second = (record(*RUN, "--data", str(data)) for data in (one, two))
    assert (first["metrics"]["images"], second["metrics"]["images"]) == (6, 8)
    assert first["run_id"] != second["run_id"]
    assert first["spec"]["images"] != second["spec"]["images"]
    again = record(*RUN, "--data", str(shutil.copytree(one, tmp_path / "moved")))
    assert (again["run_id"], again["provenance"]["started"]) == (first["run_id"], first["provenance"]["started"])
    assert "complete already" in again["stderr"]
    done = cli(*RUN, "--data", str(tmp_path / "none"))
    assert done.code == 2
    assert "does not exist; expected the folder that holds image-folder: check --data" in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_another_file_under_the_same_name_is_another_run(record, tmp_path):
    data = folder(tmp_path / "data", 60, 190)
    first = record(*RUN, "--data", str(data))
    shutil.copy(data / "test/b/i0.png", data / "test/a/i0.png")
    second = record(*RUN, "--data", str(data))
    assert first["run_id"] != second["run_id"]
    assert first["digests"]["data"] != second["digests"]["data"]
    assert first["digests"]["target"] == second["digests"]["target"]  # only a test image is another


def test_only_the_chosen_images_count(record, tmp_path):
    data = folder(tmp_path / "data", 60, 190)
    first = record(*RUN, "--data", str(data), "--limit", "2")
    shutil.copy(data / "test/a/i0.png", data / "test/b/i2.png")
    assert record(*RUN, "--data", str(data), "--limit", "2")["run_id"] == first["run_id"]


def test_other_training_images_under_the_same_names_train_another_model(record, tmp_path):
    data = folder(tmp_path / "data", 60, 190)
    first = record(*RUN, "--data", str(data))
    shutil.copy(data / "train/b/i0.png", data / "train/a/i0.png")
    second = record(*RUN, "--data", str(data))
    assert first["run_id"] != second["run_id"]
    assert first["spec"]["images"] == second["spec"]["images"]
    assert first["digests"]["target"] != second["digests"]["target"]


def test_an_edit_behind_size_and_time_is_found(record, tmp_path):
    data = folder(tmp_path / "data", 60, 190)
    image = data / "test/a/i0.png"
    first, before = record(*RUN, "--data", str(data)), image.stat()
    pixels = bytearray(image.read_bytes())
    pixels[-20] ^= 1  # in the check sum of the image data
    image.write_bytes(pixels)
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (image.stat().st_size, image.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    second = record(*RUN, "--data", str(data), "--verify-data")
    assert second["run_id"] != first["run_id"]


def plug(site: Path, *, scale: int = 1, helper: int = 0) -> Path:
    """A distribution of one's own: a defense and an attack in a package, with a helper in another module."""
    about = site / "mine-1.0.dist-info"
    (site / "mine").mkdir(parents=True, exist_ok=True)
    about.mkdir(exist_ok=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[bench.defenses]\nscaled = mine.model:Scaled\n[bench.attacks]\nlift = mine.model:Lift\n"
    )
    (site / "mine/__init__.py").write_text("")
    (site / "mine_helper.py").write_text(f"OFFSET = {helper}\n")
    (site / "mine/model.py").write_text(
        "import mine_helper\nfrom torch import nn\nfrom bench.core.budget import Norm\n"
        "from bench.core.plugins import Attack, Defense\n\n\n"
        "class _Net(nn.Module):\n    def forward(self, x):\n"
        f"        level = {scale} * x.flatten(1).mean(1, keepdim=True) + mine_helper.OFFSET\n"
        "        return nn.functional.pad(0.5 - level, (0, 1))\n\n\n"
        'class Scaled(Defense):\n    """A threshold."""\n\n    ready = True\n\n'
        "    def recipe(self, profile):\n        return {'kind': 'scaled'}\n\n"
        "    def train(self, kit, folder):\n        (folder / 'nothing').write_text('')\n\n"
        "    def load(self, kit, folder):\n        return _Net().eval()\n\n\n"
        'class Lift(Attack):\n    """Lifts every pixel."""\n\n    per_image = True\n'
        "    norms = frozenset(Norm)\n    steps: int = 1\n\n"
        "    def perturb(self, adversary, batch):\n"
        f"        return (batch.images + {scale} / 10 * adversary.budget.radius).clamp(0, 1)\n"
    )
    return site


@pytest.fixture
def outside(tmp_path, own_home, home):
    """`bench run` in a process of its own, with the distribution on its path."""

    def call(*argv: str, code: int | None = None) -> dict:
        env = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run([*BENCH, *argv], env=env, text=True, capture_output=True, check=False)
        assert done.returncode in ((0, 1) if code is None else (code,)), done.stderr
        return {**(json.loads(done.stdout) if done.stdout else {}), "stderr": done.stderr}

    return call


def addresses(home: Path) -> set[str]:
    return {path.name for path in (home / "cache/adversarial").rglob("*") if path.is_file()}


@pytest.mark.parametrize("edit", [{"scale": 3}, {"helper": 1}], ids=["module", "helper"])
def test_edited_code_of_a_plugin_is_another_run_model_and_candidate(outside, own_home, tmp_path, edit):
    plug(tmp_path / "site")
    data = folder(tmp_path / "data", 60, 190)
    run = ("run", *SMALL, "--defense", "scaled", "--data", str(data))
    first = outside(*run)
    kept = addresses(own_home)
    assert outside(*run)["run_id"] == first["run_id"]
    assert addresses(own_home) == kept
    plug(tmp_path / "site", **edit)
    second = outside(*run)
    assert second["run_id"] != first["run_id"]
    assert second["spec"]["defense"]["code"] != first["spec"]["defense"]["code"]
    assert second["digests"]["target"] != first["digests"]["target"]
    assert addresses(own_home) > kept
    assert second["cost"]["shards_reused"] == 0
    assert any("plug-ins from outside this package took part: defense scaled (mine 1.0, code" in note
               for note in first["notes"])  # fmt: skip
    assert "code" not in first["spec"]["threat"]


def test_an_edited_attack_is_run_again_and_the_old_run_is_not_verified_with_it(outside, tmp_path):
    plug(tmp_path / "site")
    run = ("run", *SMALL, "--defense", "plain", "--attack", "lift", "--data", str(folder(tmp_path / "data", 60, 190)))
    first = outside(*run)
    plug(tmp_path / "site", scale=5)
    second = outside(*run)
    assert first["run_id"] != second["run_id"]
    assert second["digests"]["target"] == first["digests"]["target"]
    assert second["cost"]["shards_reused"] == 0
    refused = outside("results", "verify", first["run_id"], "--data", str(tmp_path / "data"), code=2)
    assert "attack lift has code" in refused["stderr"]
    assert "Traceback" not in refused["stderr"]


def test_a_plugin_edited_under_a_running_process_is_refused(own_home, tmp_path):
    plug(tmp_path / "site")
    data = folder(tmp_path / "data", 60, 190)
    code = (
        "import pathlib, bench\n"
        "from bench.core.errors import InputError\n"
        f"ask = dict(profile='digits', data={str(data)!r}, attack='pgd', progress=False, settings={{\n"
        "    'profile.dataset': 'image-folder', 'profile.image_shape': [3, 8, 8], 'profile.classes': 2})\n"
        "bench.evaluate('scaled', 'white-box', **ask)\n"
        f"path = pathlib.Path({str(tmp_path / 'site/mine/model.py')!r})\n"
        "path.write_text(path.read_text().replace('1 * x', '2 * x'))\n"
        "try: bench.evaluate('scaled', 'white-box', **ask)\n"
        "except InputError as error: print(error)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run([sys.executable, "-c", code], env=env, text=True, capture_output=True, check=False)
    assert "plug-in scaled was edited after this process had loaded it; expected a new process" in done.stdout, (
        done.stderr
    )


def test_a_transform_from_outside_is_part_of_the_defense_that_names_it(cli, outsiders, own_home, tmp_path):
    from bench.engine.request import Request
    from bench.engine.resolve import resolve
    from bench.store.keyring import Keyring

    def code(transform: str) -> str | None:
        settings = {"defense.transform": transform}
        return resolve(Request("key-full", "white-box", settings=settings), Keyring(tmp_path)).spec.defense.code

    assert code("pixel-shuffle") is None
    assert code("honest") is not None
    assert code("pixel-shuffle+honest") == code("honest")


@pytest.mark.parametrize("make", [parquet, webdataset], ids=["parquet", "webdataset"])
def test_containers_are_remembered_by_their_own_change(make, own_home, tmp_path):
    """The digest of a split is that of its images, whatever holds them; another archive is read anew."""
    from bench.data.imagenet import ImageNet
    from tests.makers import store

    def digest(root: Path) -> str:
        return ImageNet().split("test", store(root, cache=tmp_path / "cache")).digest()

    folders, packed = tmp_path / "folders", tmp_path / "packed"
    class_folders(folders / "val", photos(6))
    (packed / "data").mkdir(parents=True)
    inner = packed / "data" if make is parquet else packed
    make(inner, photos(6))
    assert digest(folders) == digest(packed) == digest(packed)
    for path in inner.glob("*.*"):
        path.unlink()
    make(inner, photos(5))
    assert digest(packed) != digest(folders)


def test_an_archive_is_that_of_its_members(tmp_path):
    from bench.data.imagenet import ImageNet
    from tests.makers import store, synset_list, val_tar

    images = photos(6)
    val_tar(tmp_path, images)
    synset_list(tmp_path / "synset_labels.txt", images)
    class_folders(tmp_path / "folders/val", images)
    packed, loose = (ImageNet().split("test", store(root)).digest() for root in (tmp_path, tmp_path / "folders"))
    assert packed == loose
    assert tarfile.is_tarfile(next(tmp_path.glob("*.tar")))

"""Every file of a data set damaged in many ways: the right images, or one line that names what is wrong."""

import random
import shutil
import warnings

import pytest

from bench.core.errors import BenchError
from bench.core.registry import registry
from tests import makers


def devkit(root):
    makers.flat(root / "val", images := makers.photos(4))
    makers.devkit(root, images)


def devkit_archive(root):
    makers.flat(root / "val", images := makers.photos(4))
    makers.devkit(root, images, archive=True)


def kaggle(root):
    makers.flat(root / "ILSVRC/Data/CLS-LOC/val", images := makers.photos(4))
    makers.kaggle_csv(root, images)


def caffe(root):
    makers.flat(root / "val", images := makers.photos(4))
    makers.caffe_list(root, images)


def tar(root):
    root.mkdir()
    makers.val_tar(root, images := makers.photos(4))
    makers.devkit(root, images)


def webdataset(root):
    root.mkdir()
    makers.webdataset(root, makers.photos(4))


LAYOUTS = {
    "devkit": ("imagenet", devkit),
    "devkit archive": ("imagenet", devkit_archive),
    "kaggle": ("imagenet", kaggle),
    "caffe": ("imagenet", caffe),
    "tar": ("imagenet", tar),
    "parquet": ("imagenet", lambda root: makers.parquet(root, makers.photos(4), shards=1)),
    "webdataset": ("imagenet", webdataset),
    "tiny-imagenet": ("tiny-imagenet", makers.tiny_imagenet),
    "cifar10 binary": ("cifar10", makers.cifar10_binary),
    "cifar10 python": ("cifar10", makers.cifar10_python),
    "cifar10 parquet": ("cifar10", makers.cifar10_parquet),
    "image-folder": ("image-folder", makers.image_folder),
}


def damaged(data: bytes, turns: int):
    """Bytes cut, replaced, mixed and flipped."""
    draw = random.Random(len(data))
    yield b""
    yield b"\xff\xfe\x00" + bytes(range(256))
    yield b"[" * 5000
    yield data[: len(data) // 2]
    yield data[:-1]
    yield data[len(data) // 2 :]
    yield data.replace(b"\n", b"\xff\n")
    yield data.replace(b" ", b"").replace(b",", b"")
    for _ in range(turns):
        changed = bytearray(data)
        for place in draw.choices(range(min(len(data), 4096)), k=draw.choice((1, 3, 20))):
            changed[place] = draw.randrange(256)
        yield bytes(changed)


@pytest.mark.parametrize("turns", [4, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_damaged_file_is_one_line(tmp_path, layout, turns):
    name, make = LAYOUTS[layout]
    make(tmp_path / "data")
    dataset, side = registry("datasets").make(name), {"tiny-imagenet": 64, "cifar10": 32}.get(name, 48)
    storage = makers.store(tmp_path / "data", "timm-eval" if side == 48 else "none", side)
    files, kinds = [], set()
    for path in sorted(p for p in (tmp_path / "data").rglob("*") if p.is_file() and not p.is_symlink()):
        kind = (path.parent, path.suffix, path.stem if path.suffix == ".bin" or not path.suffix else "")
        if kind not in kinds:  # one of each
            kinds.add(kind)
            files.append(path)
    held = []
    for path in files:
        whole = path.read_bytes()
        for data in damaged(whole, turns):
            path.write_bytes(data)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    split = dataset.split("test", storage)
                    split.problems()
                    for position in range(len(split.ids)):
                        split.read([position])
            except BenchError as error:
                held.append(str(error))
        path.write_bytes(whole)
    assert held
    assert not [line for line in held if "\n" in line or len(line) > 2000]
    shutil.rmtree(tmp_path / "data")

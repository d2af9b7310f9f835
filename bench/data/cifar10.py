"""CIFAR-10 in its distributed formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.core.errors import InputError
from bench.core.plugins import Dataset, Storage
from bench.data.readers.listing import Listing, check_split, data_folder
from bench.data.readers.makeup import census
from bench.data.readers.memory import ArraySource, Pixels
from bench.data.readers.parquet import whole_labels
from bench.data.readers.pixels import decode
from bench.data.readers.split import FileSplit

_BINARY, _PYTHON = "cifar-10-batches-bin", "cifar-10-batches-py"
_FILES = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
_RECORD = 1 + 3 * 32 * 32  # a label, then the red, green and blue planes
_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_MAKE_UP = {"train": (50_000, 5_000), "test": (10_000, 1_000)}  # images, images per class

Arrays = tuple[Pixels, list[int], str]  # pixels (N, 32, 32, 3), labels, origin


class Cifar10(Dataset):
    """CIFAR-10: 10 classes at 32 x 32, 50,000 training images and 10,000 test images."""

    needs_root = True

    def split(self, name: str, storage: Storage) -> FileSplit:
        """The split ``train`` or ``test`` in the order of its files; ids count in that order.

        Raises:
            UnknownNameError: if there is no such split.
            InputError: if there is no supported format, or it is damaged.
        """
        check_split("cifar10", name)
        pixels, labels, origin = _find(data_folder(storage, "cifar10"), name)
        if labels and not 0 <= min(labels) <= max(labels) < len(_NAMES):
            raise InputError(f"{origin} has labels from {min(labels)} to {max(labels)}; expected 0 to 9")
        source = ArraySource(pixels, origin)
        total, per_class = _MAKE_UP[name]
        problems = census(labels, len(_NAMES), _NAMES.__getitem__, total=total, per_class=per_class)
        listing = Listing([f"{name}-{i:05d}" for i in range(len(labels))], labels, source)
        return FileSplit(listing, storage, problems=problems, keep_order=True)


def _find(root: Path, name: str) -> Arrays:
    for base in (root, root.parent):
        if base == root.parent and root.name not in (_BINARY, _PYTHON):
            break
        if (base / _BINARY).is_dir():
            return _binary(base / _BINARY, name)
        if (base / _PYTHON).is_dir():
            return _python(base, name)
    for folder in (root / "plain_text", root / "data", root):
        if shards := sorted(folder.glob(f"{name}-*.parquet")):
            return _parquet(shards)
    raise InputError(f"{root} holds no CIFAR-10; expected {_BINARY}, {_PYTHON} or {name}-*.parquet: check --data")


def _binary(folder: Path, name: str) -> Arrays:
    parts = []
    for file in _FILES[name]:
        try:
            data = np.fromfile(folder / file, dtype=np.uint8)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise InputError(f"{folder / file} cannot be read: {reason}; expected {_BINARY} as unpacked") from None
        if data.size == 0 or data.size % _RECORD:
            raise InputError(
                f"{folder / file} has {data.size} bytes; expected a multiple of {_RECORD}: unpack it again"
            )
        parts.append(data.reshape(-1, _RECORD))
    records = np.concatenate(parts)
    pixels = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return pixels, records[:, 0].tolist(), str(folder)


def _python(base: Path, name: str) -> Arrays:
    """The pickles; torchvision loads them only if their MD5 is the published one."""
    from torchvision.datasets import CIFAR10  # type: ignore[import-untyped]  # noqa: PLC0415 (seconds to import)

    try:
        data = CIFAR10(str(base), train=name == "train")
    except RuntimeError as error:
        raise InputError(
            f"{base / _PYTHON} is not as published: {str(error).partition('.')[0].lower()}; unpack it again"
        ) from None
    return data.data, [int(label) for label in data.targets], str(base / _PYTHON)


def _parquet(shards: list[Path]) -> Arrays:
    pixels: list[Any] = []
    labels: list[int] = []
    for shard in shards:
        try:
            table = pq.read_table(shard, columns=["img", "label"])
            rows = table.column("img").to_pylist()
            pixels += [np.asarray(decode(row["bytes"])) for row in rows]
            labels += whole_labels(table.column("label"), str(shard))
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{shard} cannot be read: {reason}; expected the columns img and label") from None
    if {p.shape for p in pixels} != {(32, 32, 3)}:
        raise InputError(f"{shards[0].parent} has images of other sizes; expected CIFAR-10's 32 x 32")
    return np.stack(pixels), labels, str(shards[0].parent)

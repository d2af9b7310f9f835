"""Labels of validation images in a single folder or archive, from the usual label files beside them."""

from __future__ import annotations

import csv
import io
import re
import tarfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scipy.io import loadmat

from bench.core.errors import InputError
from bench.data.synsets import CLASSES, synset_labels

OFFICIAL = 50_000  # lines of a list of the whole validation set
_NUMBER = re.compile(r"ILSVRC2012_val_([0-9]{8})")
_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
_DEVKIT = "ILSVRC2012_devkit_t12"
_LISTS = ("imagenet_2012_validation_synset_labels.txt", "synset_labels.txt")
_KAGGLE = "LOC_val_solution.csv"
_CAFFE = "val.txt"
ACCEPTED = f"{_DEVKIT}, {_DEVKIT}.tar.gz, {_LISTS[0]}, {_LISTS[1]}, {_KAGGLE} or {_CAFFE}"


def find_labels(ids: Sequence[str], near: Sequence[Path]) -> list[int]:
    """Labels of validation images from the first label file found.

    Args:
        ids: Ids of all images, sorted.
        near: Folders that may contain a label file, the most likely first.

    Raises:
        InputError: if there is no label file, it cannot be read or does not fit the images.
    """
    readers: list[tuple[str, Callable[[Path], list[str] | dict[str, str]]]] = [
        (f"{_DEVKIT}/data/{_TRUTH}", _devkit_folder),
        (_TRUTH, _devkit_folder),
        (f"data/{_TRUTH}", _devkit_folder),
        (f"{_DEVKIT}.tar.gz", _devkit_archive),
        *((name, _synset_list) for name in _LISTS),
        (_KAGGLE, _kaggle),
        (_CAFFE, _caffe),
    ]
    for name, read in readers:
        for folder in dict.fromkeys(near):
            path = folder / name
            if path.is_file():
                try:
                    found = read(path)
                except Exception as error:  # scipy, tarfile and csv raise various exceptions
                    raise InputError(
                        f"label file {path} cannot be read: {' '.join(str(error).split()) or type(error).__name__}; "
                        "expected it as published"
                    ) from None
                return _by_name(path, ids, found) if isinstance(found, dict) else _in_order(path, ids, found)
    raise InputError(
        f"{near[0]} holds images without class folders and there are no labels next to them; expected one of {ACCEPTED}"
    )


def _in_order(path: Path, ids: Sequence[str], wnids: Sequence[str]) -> list[int]:
    """Line n belongs to ILSVRC2012_val_n in a complete list, and to the n-th image in any other."""
    numbers = [int(match[1]) for match in map(_NUMBER.fullmatch, ids) if match]
    if len(wnids) == OFFICIAL and len(numbers) == len(ids) and min(numbers) >= 1 and max(numbers) <= OFFICIAL:
        return [_label(path, wnids[number - 1]) for number in numbers]
    if len(wnids) != len(ids):
        raise InputError(
            f"label file {path} has {len(wnids):,} lines for {len(ids):,} images; expected one line per image"
        )
    return [_label(path, wnid) for wnid in wnids]


def _by_name(path: Path, ids: Sequence[str], wnids: Mapping[str, str]) -> list[int]:
    missing = [image for image in ids if image not in wnids]
    if missing:
        raise InputError(
            f"label file {path} lacks {len(missing):,} of {len(ids):,} images, first {missing[0]}; "
            "expected one line per image"
        )
    return [_label(path, wnids[image]) for image in ids]


def _label(path: Path, synset: str) -> int:
    label = synset_labels().get(synset)
    if label is None:
        raise InputError(f"label file {path} names {synset[:40]!r}; expected synsets of ImageNet such as n01440764")
    return label


def _devkit_folder(path: Path) -> list[str]:
    return _ground_truth(path.read_text("ascii"), (path.parent / "meta.mat").read_bytes())


def _devkit_archive(path: Path) -> list[str]:
    parts: dict[str, bytes] = {}
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            name = member.name.rpartition("/")[2]
            if name in (_TRUTH, "meta.mat") and (file := archive.extractfile(member)):
                parts[name] = file.read()
    if len(parts) != 2:
        raise ValueError(f"it lacks {_TRUTH} or meta.mat")
    return _ground_truth(parts[_TRUTH].decode("ascii"), parts["meta.mat"])


def _ground_truth(numbers: str, meta: bytes) -> list[str]:
    """Synsets of the images; the numbers are the devkit's own ILSVRC2012_IDs, not positions of sorted synsets."""
    synsets: Any = loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"]  # type: ignore[arg-type]
    wnids = {
        int(number): str(wnid)
        for number, wnid, children in zip(
            synsets["ILSVRC2012_ID"], synsets["WNID"], synsets["num_children"], strict=True
        )
        if int(children) == 0  # the others are inner nodes of WordNet
    }
    return [wnids[int(line)] for line in numbers.split()]


def _synset_list(path: Path) -> list[str]:
    return path.read_text("ascii").split()


def _kaggle(path: Path) -> dict[str, str]:
    """ImageId,PredictionString with the synset at the start of the string."""
    with path.open(newline="", encoding="ascii") as file:
        return _once((row["ImageId"], row["PredictionString"].split()[0]) for row in csv.DictReader(file))


def _caffe(path: Path) -> dict[str, str]:
    """NAME LABEL, labels in the order of sorted synsets."""
    synsets = list(synset_labels())
    found = []
    for line in path.read_text("ascii").splitlines():
        if line.strip():
            name, label = line.split()
            if not label.isdecimal() or int(label) >= CLASSES:
                raise ValueError(f"label {label} of {name} is not from 0 to {CLASSES - 1}")
            found.append((name.rpartition("/")[2].rpartition(".")[0], synsets[int(label)]))
    return _once(found)


def _once(rows: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Rows by name, of which each may be there once."""
    found: dict[str, str] = {}
    for name, synset in rows:
        if name in found:
            raise ValueError(f"{name} appears twice")
        found[name] = synset
    return found

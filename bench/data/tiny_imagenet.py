"""Tiny ImageNet in its official layout."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from bench.core.errors import InputError
from bench.core.plugins import Dataset, Storage
from bench.data.readers.folders import FolderSource, class_folders, image_names, stem
from bench.data.readers.listing import Listing, check_split, data_folder
from bench.data.readers.makeup import census
from bench.data.readers.split import FileSplit

_FOLDER = "tiny-imagenet-200"
_MAKE_UP = {"train": (100_000, 500), "test": (10_000, 50)}  # images, images per class


class TinyImageNet(Dataset):
    """Tiny ImageNet: 200 classes at 64 x 64, 100,000 training images, the 10,000 validation images as test split."""

    needs_root = True
    sizes: ClassVar[dict[str, int]] = {name: total for name, (total, _) in _MAKE_UP.items()}

    def split(self, name: str, storage: Storage) -> FileSplit:
        """The split ``train`` or ``test`` in the order of its ids; labels follow the sorted synsets.

        Raises:
            UnknownNameError: if there is no such split.
            InputError: if the official layout is not present.
        """
        check_split("tiny-imagenet", name)
        folder = _official(data_folder(storage, "tiny-imagenet"))
        synsets = sorted(set(_text(folder / "wnids.txt").split()))
        classes = {synset: label for label, synset in enumerate(synsets)}
        listing = _train(folder, classes) if name == "train" else _test(folder, classes)
        total, per_class = _MAKE_UP[name]
        problems = census(listing.labels, len(classes), synsets.__getitem__, total=total, per_class=per_class)
        return FileSplit(listing, storage, problems=problems)


def _official(root: Path) -> Path:
    for folder in (root, root / _FOLDER):
        if (folder / "wnids.txt").is_file():
            return folder
    raise InputError(
        f"{root} holds no wnids.txt; expected {_FOLDER} with wnids.txt, train/ and val/ as in its zip: check --data"
    )


def _train(folder: Path, classes: dict[str, int]) -> Listing:
    _require(folder / "train", "train/WNID/images/*.JPEG")
    return class_folders(folder / "train", classes, expected="synsets of wnids.txt", inner="images")


def _test(folder: Path, classes: dict[str, int]) -> Listing:
    images, path = folder / "val/images", folder / "val/val_annotations.txt"
    _require(images, "val/images/*.JPEG")
    rows = [line.split() for line in _text(path).splitlines()]
    wnids: dict[str, str] = {}
    for name, synset in (row[:2] for row in rows if len(row) > 1):
        if wnids.setdefault(stem(name), synset) != synset:
            raise InputError(
                f"{path} says {wnids[stem(name)]} and {synset} of {name}; expected one line for each image"
            )
    names = image_names(images)
    for name in names:
        if wnids.get(stem(name)) not in classes:
            said = wnids.get(stem(name), "nothing")
            raise InputError(f"{path} says {said} for {name}; expected a synset of wnids.txt for every image")
    ids = [stem(name) for name in names]
    return Listing(ids, [classes[wnids[i]] for i in ids], FolderSource(images, names))


def _require(folder: Path, layout: str) -> None:
    if not folder.is_dir():
        raise InputError(f"folder {folder} does not exist; expected {layout} as in {_FOLDER}.zip")


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}; expected it as in {_FOLDER}.zip") from None

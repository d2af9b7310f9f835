"""ImageNet in its common layouts."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from bench.core.errors import InputError
from bench.core.plugins import Dataset, Storage
from bench.data.imagenet_labels import find_labels
from bench.data.readers.folders import FolderSource, class_folders, image_names, stem, subfolders
from bench.data.readers.index import Index, remembered
from bench.data.readers.listing import Listing, Source, check_split, data_folder
from bench.data.readers.makeup import census
from bench.data.readers.parquet import ParquetSource, parquet_index
from bench.data.readers.split import FileSplit
from bench.data.readers.tar import TarSource, flat_tar, tar_of_tars, webdataset
from bench.data.synsets import CLASSES, describer, synset_labels

_SYNSET = re.compile(r"n[0-9]{8}")
# Hugging Face appends the synset to the name: ILSVRC2012_val_00000001_n01751748
_SUFFIXED = re.compile(r"(ILSVRC2012_val_[0-9]{8}|n[0-9]{8}_[0-9]+)_(n[0-9]{8})")
_TRAIN_NAME = re.compile(r"(n[0-9]{8})_[0-9]+")
_OFFICIAL_NAME = {"train": re.compile(r"n[0-9]{8}_[0-9]+"), "test": re.compile(r"ILSVRC2012_val_[0-9]{8}")}
_SYNSETS = "synsets of ImageNet such as n01440764"


@dataclass(frozen=True)
class _Part:
    """A split by its names in the layouts, and its published size."""

    name: str
    folders: tuple[str, ...]
    archive: str
    total: int
    per_class: int | tuple[int, int]


_PARTS = {
    "train": _Part("train", ("train",), "ILSVRC2012_img_train.tar", 1_281_167, (732, 1300)),
    "test": _Part("test", ("val", "validation"), "ILSVRC2012_img_val.tar", 50_000, 50),
}


class ImageNet(Dataset):
    """ImageNet (ILSVRC 2012): 1,281,167 training images; the 50,000 validation images are the test split."""

    needs_root = True
    sizes: ClassVar[dict[str, int]] = {name: part.total for name, part in _PARTS.items()}

    def split(self, name: str, storage: Storage) -> FileSplit:
        """The split ``train`` or ``test`` in the order of its ids, which is the same for every layout.

        Raises:
            UnknownNameError: if there is no such split.
            InputError: if there is no supported layout, or its parts do not fit together.
        """
        check_split("imagenet", name)
        part, root = _PARTS[name], data_folder(storage, "imagenet")
        listing = _checked(_find(root, part, storage.cache))
        problems = census(listing.labels, CLASSES, describer(), total=part.total, per_class=part.per_class)
        return FileSplit(listing, storage, problems=[*_odd_names(listing, part), *problems])


def _find(root: Path, part: _Part, cache: Path | None) -> Listing:
    """The first layout that is present."""
    layouts: dict[str, Callable[[Path, Path, _Part, Path | None], Listing | None]]
    layouts = {
        "image files": _files,
        "the original archive": _official_archive,
        "Parquet": _parquet,
        "WebDataset": _webdataset,
    }
    for base in (root, root / "ILSVRC/Data/CLS-LOC", root / "Data/CLS-LOC"):
        for name, layout in layouts.items():
            if base.is_dir() and (listing := layout(base, root, part, cache)) is not None:
                return replace(listing, layout=name)
    folder, shards = part.folders[0], part.folders[-1]
    raise InputError(
        f"{root} holds no images of ImageNet's {part.name} split; expected {folder}/n01440764/*.JPEG"
        + (", a flat val folder with its labels" if part.name == "test" else "")
        + f", {part.archive}, {shards}-*.parquet (also in data/) or *{folder}*.tar of WebDataset: check --data"
    )


def _files(base: Path, root: Path, part: _Part, cache: Path | None) -> Listing | None:
    """Class folders or one flat folder; ``base`` itself may be the split's folder."""
    candidates = [base / name for name in part.folders]
    if part.name == "test" or base.name in part.folders:
        candidates.append(base)
    for folder in candidates:
        if not folder.is_dir():
            continue
        inner = subfolders(folder)
        if any(map(_SYNSET.fullmatch, inner)):
            return class_folders(folder, synset_labels(), expected=_SYNSETS)
        names = image_names(folder)
        if names and part.name == "test":
            return _labelled([stem(n) for n in names], FolderSource(folder, names), _near(folder, root))
        if inner and folder != base:
            raise InputError(f"folder {folder / inner[0]} is not a class; expected {_SYNSETS}: move it away")
    return None


def _official_archive(base: Path, root: Path, part: _Part, cache: Path | None) -> Listing | None:
    """The original tar file of the organisers, read in place."""
    path = base / part.archive
    if not path.is_file():
        return None
    if part.name == "train":
        index = remembered(cache, "train-tar", [path], lambda: tar_of_tars(path, synset_labels()))
        return Listing([stem(name) for name in index.names], index.labels.tolist(), TarSource([path], index))
    index = remembered(cache, "flat-tar", [path], lambda: flat_tar(path))
    return _labelled([stem(name) for name in index.names], TarSource([path], index), _near(base, root))


def _parquet(base: Path, root: Path, part: _Part, cache: Path | None) -> Listing | None:
    """Hugging Face's shards."""
    for folder in (base / "data", base):
        shards = [path for name in part.folders for path in sorted(folder.glob(f"{name}-*.parquet"))]
        if shards:
            index = remembered(cache, "parquet", shards, lambda: parquet_index(shards))  # noqa: B023 (called here)
            _check_named(index, shards)
            ids = [stem(name) if "." in name else name for name in index.names]
            return Listing(ids, index.labels.tolist(), ParquetSource(shards, index))
    return None


def _webdataset(base: Path, root: Path, part: _Part, cache: Path | None) -> Listing | None:
    """WebDataset's shards; an id is the base name of the key."""
    for folder in (base, base / "data"):
        found = sorted(folder.glob("*.tar")) if folder.is_dir() else []
        shards = [p for p in found if _words(p) & {*part.folders} and not p.name.startswith("ILSVRC2012_")]
        if shards:
            index = remembered(cache, "webdataset", shards, lambda: webdataset(shards))  # noqa: B023 (called here)
            ids = [name.rpartition("/")[2] for name in index.names]
            return Listing(ids, index.labels.tolist(), TarSource(shards, index))
    return None


def _words(path: Path) -> set[str]:
    """The words of a file's name: `interval-train-00.tar` is of train, not of val."""
    return set(re.split(r"[^a-z]+", path.name.lower()))


def _labelled(names: list[str], source: Source, near: list[Path]) -> Listing:
    """Images without class folders: the label is in the name, or in a nearby file."""
    matches = [_SUFFIXED.fullmatch(name) for name in names]
    if names and all(matches):
        return Listing(names, [synset_labels().get(match[2], -1) for match in matches if match], source)
    labels = dict(zip(ids := sorted(names), find_labels(ids, near), strict=True))
    return Listing(names, [labels[name] for name in names], source)


def _near(folder: Path, root: Path) -> list[Path]:
    """Folders where labels may be: with the images, beside their folder, and in Kaggle's top folder."""
    near = [folder, folder.parent] if folder.name in _PARTS["test"].folders else [folder]
    for base in list(near):
        if base.name == "CLS-LOC":
            near += list(base.parents)[1:3]
    return [*near, root]


def _check_named(index: Index, shards: list[Path]) -> None:
    if "" in index.names:
        shard = shards[int(index.archives[list(index.names).index("")])]
        raise InputError(f"{shard} has images without a path; expected ImageNet's names such as {_EXAMPLE}")


_EXAMPLE = "ILSVRC2012_val_00000001.JPEG"


def _checked(listing: Listing) -> Listing:
    """The listing without Hugging Face's suffixes, with every label checked to be 0 to 999 and to match its name."""
    classes, ids = synset_labels(), []
    for place, (name, label) in enumerate(zip(listing.ids, listing.labels, strict=True)):
        suffixed, train = _SUFFIXED.fullmatch(name), _TRAIN_NAME.fullmatch(name)
        said = suffixed[2] if suffixed else train[1] if train else None
        if not 0 <= label < CLASSES or (said is not None and classes.get(said) != label):
            wanted = f"{classes[said]} ({said})" if said in classes else f"0 to {CLASSES - 1}"
            raise InputError(
                f"image {name} has label {label} in {listing.source.where(place)}; expected {wanted}, "
                "the position of its synset in sorted order"
            )
        ids.append(suffixed[1] if suffixed else name)
    return replace(listing, ids=ids)


def _odd_names(listing: Listing, part: _Part) -> list[str]:
    """Runs are compared by image id, so other names are reported as a problem."""
    odd = [name for name in listing.ids if not _OFFICIAL_NAME[part.name].fullmatch(name)]
    if not odd:
        return []
    wanted = _EXAMPLE if part.name == "test" else "n01440764_10026.JPEG"
    return [f"{len(odd):,} images without ImageNet's names, first {min(odd)}; expected names such as {wanted}"]

"""Any labelled images, with one folder per class."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from bench.core.errors import InputError
from bench.core.plugins import Dataset, Storage
from bench.core.selection import IMAGE_SUFFIXES
from bench.data.readers.folders import FolderSource, below, image_names, in_order, left_out, subfolders
from bench.data.readers.listing import Listing, check_split, data_folder
from bench.data.readers.makeup import census
from bench.data.readers.split import FileSplit

_FOLDERS = {"train": ("train",), "test": ("test", "val", "validation")}


class ImageFolder(Dataset):
    """Your own images: train/CLASS/** and test/CLASS/** (or val), classes in the order of their names or numbers."""

    needs_root = True
    folders_in_ids = True

    def split(self, name: str, storage: Storage) -> FileSplit:
        """The split ``train`` or ``test``; an id is the path within the split's folder without its suffix.

        Raises:
            UnknownNameError: if there is no such split.
            InputError: if the folder does not exist, or its classes differ from those of the other split.
        """
        check_split("image-folder", name)
        root = data_folder(storage, "image-folder")
        folders = {split: _folder(root, split) for split in _FOLDERS}
        folder = folders[name]
        if folder is None:
            wanted = " or ".join(f"{n}/CLASS/*.jpg" for n in _FOLDERS[name])
            raise InputError(f"{root} holds no {name} images; expected {wanted}: check --data")
        classes = in_order(subfolders(folder))
        other = folders["train" if name == "test" else "test"]
        if other is not None and (differ := sorted({*classes} ^ {*subfolders(other)})):
            raise InputError(
                f"class {differ[0]} is in one of {folder} and {other} only; expected the same folders in both"
            )
        files = [(f"{cls}/{path}", label) for label, cls in enumerate(classes) for path in below(folder / cls)]
        names, labels = [name for name, _ in files], [label for _, label in files]
        listing = Listing([n.rpartition(".")[0] for n in names], labels, FolderSource(folder, names))
        problems = [*_unread(folder, classes), *census(labels, len(classes), classes.__getitem__)]
        return FileSplit(listing, storage, problems=problems)


def _unread(folder: Path, classes: list[str]) -> list[str]:
    """Report files that are ignored, so that no set is silently smaller than expected."""
    lines = []
    if beside := image_names(folder):
        lines.append(f"{len(beside)} images are in {folder} outside the class folders, first {beside[0]}; expected "
                     "every image in the folder of its class")  # fmt: skip
    if found := sum((left_out(folder / name) for name in classes), Counter[str]()):
        said = ", ".join(f"{count} {suffix}" for suffix, count in sorted(found.items()))
        lines.append(f"{found.total()} files in {folder} are ignored ({said}); expected {' '.join(IMAGE_SUFFIXES)}")
    return lines


def _folder(root: Path, split: str) -> Path | None:
    return next((root / name for name in _FOLDERS[split] if (root / name).is_dir()), None)

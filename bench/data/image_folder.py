"""Any labelled images: a folder for each class."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from bench.core.errors import InputError
from bench.core.plugins import Plugin, Storage
from bench.data.readers.folders import FolderSource, below, subfolders
from bench.data.readers.listing import Listing, check_split, data_folder
from bench.data.readers.makeup import census
from bench.data.readers.split import FileSplit

_FOLDERS = {"train": ("train",), "test": ("test", "val", "validation")}


class ImageFolder(Plugin):
    """Images of your own: train/CLASS/** and test/CLASS/** (or val), classes in the order of their names."""

    needs_root: ClassVar[bool] = True

    def split(self, name: str, storage: Storage) -> FileSplit:
        """The split ``train`` or ``test``; an id is the path in the split's folder without its suffix.

        Raises:
            UnknownNameError: there is no such split.
            InputError: the folder is not there, or its classes are not those of the other split.
        """
        check_split("image-folder", name)
        root = data_folder(storage, "image-folder")
        folders = {split: _folder(root, split) for split in _FOLDERS}
        folder = folders[name]
        if folder is None:
            wanted = " or ".join(f"{n}/CLASS/*.jpg" for n in _FOLDERS[name])
            raise InputError(f"{root} holds no {name} images; expected {wanted}: check --data")
        classes = subfolders(folder)
        other = folders["train" if name == "test" else "test"]
        if other is not None and (differ := sorted({*classes} ^ {*subfolders(other)})):
            raise InputError(
                f"class {differ[0]} is in one of {folder} and {other} only; expected the same folders in both"
            )
        files = [(f"{cls}/{path}", label) for label, cls in enumerate(classes) for path in below(folder / cls)]
        names, labels = [name for name, _ in files], [label for _, label in files]
        listing = Listing([n.rpartition(".")[0] for n in names], labels, FolderSource(folder, names))
        return FileSplit(listing, storage, problems=census(labels, len(classes), classes.__getitem__))


def _folder(root: Path, split: str) -> Path | None:
    return next((root / name for name in _FOLDERS[split] if (root / name).is_dir()), None)

"""Images that are files: one folder for each class, or all in one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.core.errors import InputError
from bench.data.readers.listing import Listing

SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".webp")


@dataclass(frozen=True)
class FolderSource:
    """Files by their path under ``root``."""

    root: Path
    names: Sequence[str]

    def encoded(self, place: int) -> bytes:
        """The file's bytes."""
        return (self.root / self.names[place]).read_bytes()

    def where(self, place: int) -> str:
        """The file's path."""
        return str(self.root / self.names[place])


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder, hidden names left out, by name.

    Raises:
        InputError: it cannot be listed.
    """
    try:
        with os.scandir(folder) as found:
            return sorted((e for e in found if not e.name.startswith(".")), key=lambda e: e.name)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"folder {folder} cannot be listed: {reason}; expected a folder you may read") from None


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in ``folder``, sorted."""
    return [e.name for e in entries(folder) if e.is_dir()]


def image_names(folder: Path) -> list[str]:
    """Names of the image files in ``folder``, sorted."""
    return [e.name for e in entries(folder) if is_image(e.name)]


def is_image(name: str) -> bool:
    """Whether the name ends as an image file's does, and is not hidden."""
    return name.lower().endswith(SUFFIXES) and not name.rpartition("/")[2].startswith(".")


def stem(name: str) -> str:
    """The base name without its last suffix."""
    return name.rpartition("/")[2].rpartition(".")[0]


def class_folders(folder: Path, classes: Mapping[str, int], *, expected: str, inner: str = "") -> Listing:
    """``folder/CLASS/[inner/]NAME.JPEG``; an id is the file's stem.

    Args:
        folder: Of one split.
        classes: Label of each class folder.
        expected: What a class folder's name is, for the error line.
        inner: A folder between class and files.

    Raises:
        InputError: a folder is no class.
    """
    names: list[str] = []
    labels: list[int] = []
    for name in subfolders(folder):
        if name not in classes:
            raise InputError(f"folder {folder / name} is no class; expected {expected}: move it away")
        if not (folder / name / inner).is_dir():
            continue
        here = [f"{name}/{inner}/{file}" if inner else f"{name}/{file}" for file in image_names(folder / name / inner)]
        names += here
        labels += [classes[name]] * len(here)
    return Listing([stem(name) for name in names], labels, FolderSource(folder, names))


def below(folder: Path) -> Iterator[str]:
    """Paths under ``folder`` of all image files, at any depth."""
    for top, _, files in os.walk(folder):
        for file in files:
            if is_image(file):
                yield (Path(top) / file).relative_to(folder).as_posix()

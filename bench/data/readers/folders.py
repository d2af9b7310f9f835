"""Images stored as files: one folder per class, or a single folder."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.core.errors import InputError
from bench.core.selection import IMAGE_SUFFIXES
from bench.data.readers.listing import Listing

_COMPANIONS = (".txt", ".csv", ".tsv", ".json", ".xml", ".md", ".yaml", ".yml", ".html", ".db", ".ini", ".log", ".mat")


@dataclass(frozen=True)
class FolderSource:
    """Files by their path under ``root``."""

    root: Path
    names: Sequence[str]

    @property
    def files(self) -> tuple[Path, ...]:
        """The folder."""
        return (self.root,)

    def encoded(self, place: int) -> bytes:
        """The file's bytes."""
        return (self.root / self.names[place]).read_bytes()

    def part(self, place: int) -> tuple[str, str]:
        """The whole file."""
        return f"{self.root}/{self.names[place]}", ""

    def where(self, place: int) -> str:
        """The file's path."""
        return str(self.root / self.names[place])


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """Entries of a folder without hidden names, sorted by name.

    Raises:
        InputError: if it cannot be listed.
    """
    try:
        with os.scandir(folder) as found:
            return sorted((e for e in found if not e.name.startswith(".")), key=lambda e: e.name)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"folder {folder} cannot be listed: {reason}; expected a folder you may read") from None


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in ``folder``, sorted; a link to a folder is one.

    Raises:
        InputError: if a name is not UTF-8 or contains a control character.
    """
    return [_readable(folder, e.name) for e in entries(folder) if e.is_dir()]


def image_names(folder: Path) -> list[str]:
    """Names of the image files in ``folder``, sorted.

    Raises:
        InputError: if a name is not UTF-8 or contains a control character.
    """
    return [_readable(folder, e.name) for e in entries(folder) if is_image(e.name) and not e.is_dir()]


def _readable(folder: Path, name: str) -> str:
    """Check that a name can be an id, which is written to records and lists, one per line."""
    try:
        name.encode("utf-8")
        sound = not any(ord(c) < 32 or ord(c) == 127 for c in name)
    except UnicodeEncodeError:
        sound = False
    if not sound:
        raise InputError(
            f"{os.fsencode(name)!r} in {os.fsencode(folder).decode('utf-8', 'backslashreplace')} is not a name that a "
            "record can hold; expected UTF-8 without control characters: rename it"
        )
    return name


def is_image(name: str) -> bool:
    """Whether the name has an image suffix and is not hidden."""
    return name.lower().endswith(IMAGE_SUFFIXES) and not name.rpartition("/")[2].startswith(".")


def stem(name: str) -> str:
    """The base name without its last suffix."""
    return name.rpartition("/")[2].rpartition(".")[0]


def class_folders(folder: Path, classes: Mapping[str, int], *, expected: str, inner: str = "") -> Listing:
    """``folder/CLASS/[inner/]NAME.JPEG``; an id is the file's stem.

    Args:
        folder: Folder of one split.
        classes: Label of each class folder.
        expected: Description of a valid class folder name, for error messages.
        inner: A folder between class and files.

    Raises:
        InputError: if a folder is not a class.
    """
    names: list[str] = []
    labels: list[int] = []
    for name in subfolders(folder):
        if name not in classes:
            raise InputError(f"folder {folder / name} is not a class; expected {expected}: move it away")
        if not (folder / name / inner).is_dir():
            continue
        here = [f"{name}/{inner}/{file}" if inner else f"{name}/{file}" for file in image_names(folder / name / inner)]
        names += here
        labels += [classes[name]] * len(here)
    return Listing([stem(name) for name in names], labels, FolderSource(folder, names))


def below(folder: Path) -> Iterator[str]:
    """Paths under ``folder`` of all image files, at any depth, sorted within each folder; links are followed.

    Raises:
        InputError: if a folder cannot be listed, a link leads back to a folder above it, or a name is not a valid id.
    """
    return _below(folder, "", (os.path.realpath(folder),))


def _below(folder: Path, path: str, above: tuple[str, ...]) -> Iterator[str]:
    yield from (path + name for name in image_names(folder))
    for name in subfolders(folder):
        here = os.path.realpath(folder / name)
        if here in above:
            raise InputError(f"{folder / name} is a link to a folder above it; expected no cycle: remove the link")
        yield from _below(folder / name, f"{path}{name}/", (*above, here))


def left_out(folder: Path) -> Counter[str]:
    """Number of files under ``folder`` without an image suffix, by suffix; ignores hidden and text files."""
    found: Counter[str] = Counter()
    for entry in entries(folder):
        if entry.is_dir():
            found += left_out(folder / entry.name)
        elif not entry.name.lower().endswith((*IMAGE_SUFFIXES, *_COMPANIONS)):
            found[Path(entry.name).suffix.lower() or "no suffix"] += 1
    return found


def in_order(names: Sequence[str]) -> list[str]:
    """Class folders in the order of their labels: by number if all are numbers, otherwise by name."""
    numbers = all(name.isascii() and name.isdecimal() for name in names)
    return sorted(names, key=lambda name: (int(name), name)) if numbers else sorted(names)

"""Images in tar files, indexed once from their headers and read in place: the original archives and WebDataset's."""

from __future__ import annotations

import io
import os
import re
import tarfile
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from bench.core.errors import InputError
from bench.data.readers.folders import is_image, stem
from bench.data.readers.index import Index, Located

_OPEN = 16  # archives kept open per thread
_IMAGES = ("jpg", "jpeg", "png")
_KEY = re.compile(r"^((?:.*/|)[^.]+)[.]([^/]*)$")  # webdataset.tariterators.base_plus_ext


class _Handle:
    """A file that stays open until nothing refers to it, such as a thread that ends."""

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)


class TarSource:
    """Reads bytes at an offset of some archives."""

    def __init__(self, archives: Sequence[Path], index: Index) -> None:
        self.files, self._index = tuple(archives), index
        self._local = threading.local()

    def encoded(self, place: int) -> bytes:
        """The bytes of a member."""
        index = self._index
        size, start = int(index.sizes[place]), int(index.starts[place])
        # pread does not use the file position, so a handle shared by a fork is safe
        data = os.pread(self._handle(int(index.archives[place])).number, size, start)
        if len(data) < size:
            raise OSError(f"archive ends after {len(data)} of {size} bytes")
        return data

    def part(self, place: int) -> tuple[str, str]:
        """The archive, and the bytes of it."""
        index = self._index
        return str(self.files[int(index.archives[place])]), f"{index.starts[place]}+{index.sizes[place]}"

    def where(self, place: int) -> str:
        """The archive and the member's name."""
        return f"{self.files[int(self._index.archives[place])]}: {self._index.names[place]}"

    def _handle(self, archive: int) -> _Handle:
        """This thread's handle; the least recently used one is closed when there are too many."""
        if not hasattr(self._local, "files"):
            self._local.files = OrderedDict()
        files: OrderedDict[int, _Handle] = self._local.files
        if archive not in files:
            files[archive] = _Handle(self.files[archive])
            if len(files) > _OPEN:
                files.popitem(last=False)
        files.move_to_end(archive)
        return files[archive]

    def __getstate__(self) -> tuple[tuple[Path, ...], Index]:
        return self.files, self._index

    def __setstate__(self, state: tuple[tuple[Path, ...], Index]) -> None:
        self.__init__(*state)  # type: ignore[misc]


def flat_tar(path: Path) -> Index:
    """The images of a tar file, without labels.

    Raises:
        InputError: if it is not a complete tar file.
    """
    with path.open("rb") as file:
        return Index.of([(m.name, -1, 0, m.offset_data, m.size) for m in _members(path, file) if is_image(m.name)])


def tar_of_tars(path: Path, classes: dict[str, int]) -> Index:
    """The images of a tar file that contains one tar file per class.

    Raises:
        InputError: if it is not a complete tar file, or a member is not a class.
    """
    rows: list[Located] = []
    with path.open("rb") as file:
        for inner in list(_members(path, file)):
            if stem(inner.name) not in classes:
                raise InputError(f"{inner.name} in {path} is not a class; expected tar files such as n01440764.tar")
            label, start = classes[stem(inner.name)], inner.offset_data
            window = io.BufferedReader(_Window(file, start, inner.size), 512)
            rows += [
                (m.name, label, 0, start + m.offset_data, m.size) for m in _members(path, window) if is_image(m.name)
            ]
    return Index.of(rows)


def webdataset(shards: Sequence[Path]) -> Index:
    """KEY.jpg (or jpeg, png) with KEY.cls; the name of an image is its key.

    Raises:
        InputError: if a shard is not a complete tar file, or a key lacks its image or its label.
    """
    rows: list[Located] = []
    for number, shard in enumerate(shards):
        parts: dict[str, dict[str, tarfile.TarInfo]] = {}
        with shard.open("rb") as file:
            for member in _members(shard, file):
                if match := _KEY.match(member.name):
                    kind = "image" if match[2].lower() in _IMAGES else match[2].lower()
                    twin = parts.setdefault(match[1], {}).setdefault(kind, member)
                    if twin is not member:
                        raise InputError(f"{shard} holds {twin.name} and {member.name} under one key; expected one "
                                         "image and one label for each key")  # fmt: skip
            rows += [_sample(shard, file, number, key, found) for key, found in parts.items()]
    return Index.of(rows)


def _sample(shard: Path, file: BinaryIO, number: int, key: str, found: dict[str, tarfile.TarInfo]) -> Located:
    if "image" not in found or "cls" not in found:
        raise InputError(
            f"{key} in {shard} has {', '.join(sorted(found))}; expected {key}.jpg (jpeg, png) and {key}.cls"
        )
    file.seek(found["cls"].offset_data)
    text = file.read(found["cls"].size).strip()
    if not text.isdigit():
        raise InputError(f"{key}.cls in {shard} is {text[:20]!r}; expected the number of a class")
    return key, int(text), number, found["image"].offset_data, found["image"].size


def _members(path: Path, file: BinaryIO) -> Iterator[tarfile.TarInfo]:
    """Regular members, headers only."""
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                if (member.issym() or member.islnk()) and is_image(member.name):
                    raise InputError(f"{member.name} in {path} is a link; expected the image itself")
                if member.isreg():
                    yield member
    except tarfile.TarError as error:
        raise InputError(f"{path} is not a complete tar file: {error}; expected it as downloaded") from None


class _Window(io.RawIOBase):
    """A part of a file, as a file."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._file, self._start, self._size, self._at = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = origin + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        self._file.seek(self._start + self._at)
        data = self._file.read(max(0, min(len(buffer), self._size - self._at)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

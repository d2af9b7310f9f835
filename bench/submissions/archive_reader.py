"""Reading an archive of a run without trusting its content."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from bench.store.untrusted import RefusedError, parse_document, tame
from bench.submissions.archive import MANIFEST, Manifest

_SHARD = re.compile(r"adversarial/\d{5}\.safetensors")
# Size limits of members. A shard of 1,000 ImageNet images (float32, 3 x 224 x 224) has 602 MB.
_MOST = {
    MANIFEST: 32_000_000,
    "record.json": 4_000_000,
    "verdicts.parquet": 256_000_000,
    "gallery.json": 4_000_000,
    "gallery.png": 2_000_000,
}
_MOST_SHARD = 2 << 30
_MOST_ARCHIVE = 64 << 30
_DIRECTORY = 32_000_000  # of the member list, which is read in one piece: 100,000 shards have 10 MB
_CHUNK = 1 << 20
_FLAGS = 0x0800  # names in UTF-8; every other flag means encryption, patches or deferred sizes


@contextmanager
def open_pack(path: Path) -> Iterator[Pack]:
    """An archive for reading.

    Raises:
        RefusedError: if it is not in the format of ``write_pack``.
    """
    try:
        file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # noqa: SIM115 (closed below)
    except OSError as error:
        raise RefusedError("archive", f"cannot be read: {(error.strerror or '').lower()}") from None
    with file:
        _check_file(file)
        try:
            archive = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, struct.error) as error:
            raise RefusedError("archive", f"is not a zip file: {error}") from None
        with archive:
            yield Pack(archive, os.fstat(file.fileno()).st_size)


class Pack:
    """An archive with a checked list of members; each member is checked as it is read.

    Args:
        archive: The open file.
        size: Its size in bytes.

    Raises:
        RefusedError: if a member is not allowed, or the manifest does not match the members.
    """

    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        self._archive, self._entries = archive, _checked(archive.infolist(), size)
        data = self._bytes(MANIFEST)
        self.manifest = parse_document(data, Manifest, MANIFEST, prefix="manifest.")
        listed, there = set(self.manifest.members), set(self._entries) - {MANIFEST}
        for name in sorted(listed ^ there):
            raise RefusedError("manifest.members", f"{tame(name)!r} is {'missing' if name in listed else 'not listed'}")
        for name, member in sorted(self.manifest.members.items()):
            if member.size != self._entries[name].file_size:
                raise RefusedError(f"manifest.members.{name}.size", f"is {member.size}, the archive has "
                                   f"{self._entries[name].file_size}")  # fmt: skip

    @property
    def shards(self) -> list[str]:
        """Members with adversarial images, in order."""
        return sorted(name for name in self._entries if _SHARD.fullmatch(name))

    def holds(self, name: str) -> bool:
        """Whether the member exists."""
        return name in self._entries

    def size(self, name: str) -> int:
        """Bytes of a member."""
        return self._entries[name].file_size

    def head(self, name: str, most: int) -> bytes:
        """The first bytes of a member, before its digest is checked."""
        return self._bytes(name, most)

    def read(self, name: str) -> bytes:
        """A member's bytes.

        Raises:
            RefusedError: if it is missing, or does not have the manifest's SHA-256.
        """
        if name not in self._entries:
            raise RefusedError(name, "is missing in the archive")
        data = self._bytes(name)
        if hashlib.sha256(data).hexdigest() != self.manifest.members[name].sha256:
            raise RefusedError(f"manifest.members.{name}.sha256", "does not match the member")
        return data

    def _bytes(self, name: str, most: int | None = None) -> bytes:
        """Read in pieces, never beyond the declared size, whatever the stream contains."""
        left = min(self._entries[name].file_size, self._entries[name].file_size if most is None else most)
        pieces = []
        try:
            with self._archive.open(self._entries[name]) as stream:
                while left > 0 and (piece := stream.read(min(left, _CHUNK))):
                    left -= len(piece)
                    pieces.append(piece)
        except (zipfile.BadZipFile, OSError, EOFError, ValueError, struct.error, RuntimeError) as error:
            raise RefusedError(tame(name), f"cannot be read: {error}") from None
        if left:
            raise RefusedError(tame(name), f"ends {left} bytes early")
        return b"".join(pieces)


def _checked(entries: list[zipfile.ZipInfo], size: int) -> dict[str, zipfile.ZipInfo]:
    found: dict[str, zipfile.ZipInfo] = {}
    for entry in entries:
        name, shown = entry.filename, f"member {tame(entry.orig_filename, 80)!r}"
        if entry.orig_filename != name or (name not in _MOST and not _SHARD.fullmatch(name)):
            raise RefusedError(shown, "is not allowed in an archive")
        if name in found:
            raise RefusedError(shown, "appears twice")
        if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
            raise RefusedError(shown, "is a link or a special file")
        if entry.flag_bits & ~_FLAGS:
            raise RefusedError(shown, "is encrypted, or has flags that mean its sizes cannot be trusted")
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise RefusedError(
                shown, "is compressed; expected members stored as they are, as `bench results pack` does"
            )
        if entry.file_size > _MOST.get(name, _MOST_SHARD):
            raise RefusedError(
                shown, f"declares {entry.file_size} bytes; expected at most {_MOST.get(name, _MOST_SHARD)}"
            )
        found[name] = entry
    if sum(entry.file_size for entry in entries) > size:
        raise RefusedError("archive", f"has {size} bytes, its members declare more: they overlap")
    for name in (MANIFEST, "record.json", "verdicts.parquet"):
        if name not in found:
            raise RefusedError(name, "is missing in the archive")
    return found


def _check_file(file: IO[bytes]) -> None:
    """A regular file, not too large, with a member list that can be read in one piece."""
    about = os.fstat(file.fileno())
    if not stat.S_ISREG(about.st_mode) or not 22 <= about.st_size <= _MOST_ARCHIVE:
        raise RefusedError("archive", "is not a regular file of an allowed size")
    file.seek(max(0, about.st_size - 98))
    tail = file.read(98)
    if tail[-22:-18] != b"PK\x05\x06" or tail[-2:] != b"\0\0":  # the end of the list, without a comment after it
        raise RefusedError("archive", "is not a zip file, or has data after its end")
    (listed,) = struct.unpack("<L", tail[-10:-6])
    if tail[-42:-38] == b"PK\x06\x07":  # a large one has 64-bit sizes, right before
        begins, length = struct.unpack("<Q", tail[-34:-26])[0], struct.unpack("<Q", tail[-94:-86])[0]
        if tail[-98:-94] != b"PK\x06\x06" or begins != about.st_size - 98 or length != 44:
            raise RefusedError("archive", "does not end like a plain zip file")
        (listed,) = struct.unpack("<Q", tail[-58:-50])
    if listed > _DIRECTORY:
        raise RefusedError("archive", f"declares a list of members of {listed} bytes")
    file.seek(0)

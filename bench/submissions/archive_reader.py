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

from bench.store.untrusted import RefusedError, parse_document, tame
from bench.submissions.archive import MANIFEST, Manifest
from bench.submissions.zip_layout import MOST_MEMBERS, check_layout, read_end

_SHARD = re.compile(r"adversarial/[0-9]{5}\.safetensors")
# Size limits of members. A shard of 1,000 ImageNet images (float32, 3 x 224 x 224) has 602 MB.
_MOST = {
    MANIFEST: 4_000_000,
    "record.json": 1_000_000,
    "verdicts.parquet": 64_000_000,
    "gallery.json": 1_000_000,
    "gallery.png": 2_000_000,
}
_MOST_SHARD = 2 << 30
_NODES = 8 * MOST_MEMBERS + 100  # of the manifest: size and SHA-256 of every member
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
        end = read_end(file)
        try:
            archive = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, struct.error) as error:
            raise RefusedError("archive", f"is not a zip file: {error}") from None
        with archive:
            check_layout(file, archive.infolist(), end)
            yield Pack(archive)


class Pack:
    """An archive with a checked list of members; each member is checked as it is read.

    Args:
        archive: The open file, its layout checked.

    Raises:
        RefusedError: if a member is not allowed, or the manifest does not match the members.
    """

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive, self._entries = archive, _checked(archive.infolist())
        data = self._bytes(MANIFEST)
        self.manifest = parse_document(data, Manifest, MANIFEST, prefix="manifest.", nodes=_NODES)
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
        return b"".join(self._pieces(name, most))

    def read(self, name: str) -> bytes:
        """A member's bytes.

        Raises:
            RefusedError: if it is missing, or does not have the manifest's SHA-256.
        """
        if name not in self._entries:
            raise RefusedError(name, "is missing in the archive")
        data = self._bytes(name)
        self._compare(name, hashlib.sha256(data).hexdigest())
        return data

    def check(self, name: str) -> None:
        """Check a member's SHA-256 without holding it in memory.

        Raises:
            RefusedError: if it is not the manifest's.
        """
        found = hashlib.sha256()
        for piece in self._pieces(name):
            found.update(piece)
        self._compare(name, found.hexdigest())

    def _compare(self, name: str, sha256: str) -> None:
        if sha256 != self.manifest.members[name].sha256:
            raise RefusedError(f"manifest.members.{name}.sha256", "does not match the member")

    def _bytes(self, name: str) -> bytes:
        return b"".join(self._pieces(name))

    def _pieces(self, name: str, most: int | None = None) -> Iterator[bytes]:
        """Read in pieces, never beyond the declared size, whatever the stream contains."""
        left = min(self._entries[name].file_size, self._entries[name].file_size if most is None else most)
        try:
            with self._archive.open(self._entries[name]) as stream:
                while left > 0 and (piece := stream.read(min(left, _CHUNK))):
                    left -= len(piece)
                    yield piece
        except (zipfile.BadZipFile, OSError, EOFError, ValueError, struct.error, RuntimeError) as error:
            raise RefusedError(tame(name), f"cannot be read: {error}") from None
        if left:
            raise RefusedError(tame(name), f"ends {left} bytes early")


def _checked(entries: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
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
    for name in (MANIFEST, "record.json", "verdicts.parquet"):
        if name not in found:
            raise RefusedError(name, "is missing in the archive")
    return found

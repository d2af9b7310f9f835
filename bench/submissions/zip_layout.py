"""The layout of a zip file: nothing before, between, behind or twice; checked around the standard library's reader.

The library makes an object for every entry of the list of members, whatever its name, and takes files with other bytes
in front. So the end of the file is read first, and after the list is known, its members must cover the file exactly.

Source: PKWARE, APPNOTE.TXT 6.3, sections 4.3.7 (local file header), 4.3.14 to 4.3.16 (end of the list of members).
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
from dataclasses import dataclass
from typing import IO

from bench.store.untrusted import RefusedError, tame

MOST_MEMBERS = 10_010
_MOST_ARCHIVE = 64 << 30
_ENTRY, _LOCAL = 46, 30  # bytes of an entry of the list, and of a member's own header, without names
_NAMED = 128  # bytes of an entry with a name of this format and 64-bit sizes, at most


@dataclass(frozen=True)
class End:
    """The end of a zip file: where its list of members begins, its size in bytes and number of entries."""

    begins: int
    length: int
    entries: int


def read_end(file: IO[bytes]) -> End:
    """The end of an archive, with a list of members that is short enough to be read.

    Raises:
        RefusedError: if it is not a regular file of an allowed size that ends like a plain zip file.
    """
    about = os.fstat(file.fileno())
    if not stat.S_ISREG(about.st_mode) or not 22 <= about.st_size <= _MOST_ARCHIVE:
        raise RefusedError("archive", "is not a regular file of an allowed size")
    file.seek(max(0, about.st_size - 98))
    tail = file.read(98)
    file.seek(0)
    if tail[-22:-18] != b"PK\x05\x06" or tail[-2:] != b"\0\0":  # the end of the list, without a comment after it
        raise RefusedError("archive", "is not a zip file, or has data after its end")
    disk, first, here, entries, length, begins = struct.unpack("<HHHHLL", tail[-18:-2])
    after = about.st_size - 22
    if tail[-42:-38] == b"PK\x06\x07":  # a large one has 64-bit sizes, right before
        disk, first, here, entries, length, begins = _large(tail, about.st_size)
        after = about.st_size - 98
    if disk or first or here != entries:
        raise RefusedError("archive", "is a part of several files")
    if entries > MOST_MEMBERS or length > MOST_MEMBERS * _NAMED or length < entries * _ENTRY:
        raise RefusedError("archive", f"declares {entries} members in a list of {length} bytes; expected at most "
                           f"{MOST_MEMBERS} members")  # fmt: skip
    if begins + length != after:
        raise RefusedError("archive", "has other data before, between or behind its members")
    return End(begins, length, entries)


def _large(tail: bytes, size: int) -> tuple[int, ...]:
    """The numbers of the 64-bit end of the list."""
    begins, length = struct.unpack("<Q", tail[-34:-26])[0], struct.unpack("<Q", tail[-94:-86])[0]
    if tail[-98:-94] != b"PK\x06\x06" or begins != size - 98 or length != 44:
        raise RefusedError("archive", "does not end like a plain zip file")
    return struct.unpack("<LLQQQQ", tail[-82:-42])


def check_layout(file: IO[bytes], entries: list[zipfile.ZipInfo], end: End) -> None:
    """Check that the members lie one behind the other from byte 0 to the list, and that the list is exactly they.

    Raises:
        RefusedError: if there is anything before, between or behind them, or if they overlap.
    """
    if len(entries) != end.entries:
        raise RefusedError("archive", f"declares {end.entries} members and lists {len(entries)}")
    at = 0
    for entry in sorted(entries, key=lambda one: one.header_offset):
        shown = f"member {tame(entry.orig_filename, 80)!r}"
        if entry.header_offset != at:
            where = "overlaps another" if entry.header_offset < at else "has other data before it"
            raise RefusedError(shown, f"{where}; expected members one behind the other from byte 0")
        file.seek(at)
        header = file.read(_LOCAL)
        if len(header) < _LOCAL or header[:4] != b"PK\x03\x04" or entry.comment:
            raise RefusedError(shown, "is not a plain member of a zip file")
        name, extra = struct.unpack("<HH", header[26:30])
        at += _LOCAL + name + extra + entry.compress_size
    if at != end.begins:
        raise RefusedError("archive", "has other data behind its members" if at < end.begins else "has members that "
                           "reach into their list: they overlap")  # fmt: skip

"""Digests inside files: SHA-256 of the whole file with the digest's own place zeroed. They find damage, not forgery."""

from __future__ import annotations

import hashlib
import re

FIELD = "sha256"  # last field of a JSON document
BLANK = "0" * 64
UNSEALED = "it has no digest of itself"
# A document ends with its digest; in a Parquet file it is the last of its kind, in the footer.
_IN_DOCUMENT = re.compile(rb'"sha256":\s*"([0-9a-f]{64})"\s*}\s*\Z')
_IN_TABLE = re.compile(rb"sha256=([0-9a-f]{64})")
_TAIL = 200  # bytes in which a document's digest is


def seal_document(data: bytes) -> bytes:
    """``data`` with its digest; its last field is ``sha256``, with 64 zeros."""
    place = _in_document(data)
    return data if place is None else _put(data, place, _digest(data, place, ""))


def document_damage(data: bytes) -> str | None:
    """What is wrong with a document's bytes; None if nothing is, or if it has no digest."""
    place = _in_document(data)
    return None if place is None else _damage(data, place, "")


def seal_table(data: bytes, address: str = "") -> bytes:
    """A Parquet file with its digest; its metadata has the text ``sha256=`` and 64 zeros.

    Args:
        data: The file.
        address: Where the file belongs, part of the digest: the file is damaged everywhere else.
    """
    place = _in_table(data)
    return data if place is None else _put(data, place, _digest(data, place, address))


def table_damage(data: bytes, address: str = "") -> str | None:
    """What is wrong with a Parquet file's bytes; None if nothing is."""
    place = _in_table(data)
    return UNSEALED if place is None else _damage(data, place, address)


def _in_document(data: bytes) -> int | None:
    start = max(len(data) - _TAIL, 0)
    found = _IN_DOCUMENT.search(data, start)
    return found.start(1) if found else None


def _in_table(data: bytes) -> int | None:
    places = [found.start(1) for found in _IN_TABLE.finditer(data)]
    return places[-1] if places else None


def _digest(data: bytes, place: int, address: str) -> bytes:
    whole = hashlib.sha256(address.encode())
    whole.update(data[:place] + BLANK.encode() + data[place + len(BLANK) :])
    return whole.hexdigest().encode()


def _put(data: bytes, place: int, digest: bytes) -> bytes:
    return data[:place] + digest + data[place + len(digest) :]


def _damage(data: bytes, place: int, address: str) -> str | None:
    if data[place : place + len(BLANK)] == _digest(data, place, address):
        return None
    return "its bytes do not have the digest in it"

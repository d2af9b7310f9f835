"""Digests of stored images: of their encoded bytes, and kept between runs while the files do not change."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa

from bench.core.canonical import canonical
from bench.core.plugins import Storage
from bench.core.progress import Progress, stage
from bench.data.readers.listing import Source
from bench.data.readers.tables import keep_table, read_table

UNREADABLE = bytes(32)  # in place of the digest of an image that cannot be read
_VERSION = 1  # of the stored format
_STATE = ("size", "modified", "changed", "inode")
_CHUNK = 64  # images read by one thread in the order of their storage
_SETTLED = 2_000_000_000  # nanoseconds after which a change of a file must have changed its times
_SIGNED = (1 << 63) - 1
_LONG = 1000  # number of images that needs a progress line

Stored = tuple[str, str]
Stamp = tuple[int, int, int, int]  # of a file: size, times of the last change of its bytes and of its inode, inode
Kept = dict[Stored, tuple[Stamp, bytes]]


def contents(source: Source, places: Sequence[int], storage: Storage, progress: Progress) -> list[bytes]:
    """SHA-256 of the encoded bytes of the images at ``places`` of a source.

    A kept digest is used if size, times and inode of the file are those of when it was read; ``storage.verify`` reads
    every image again, and names the first one that differs from what was kept.
    """
    parts = {place: source.part(place) for place in places}
    states = _states(part[0] for part in parts.values() if part)
    memo = _memo(storage, source)
    kept = _load(memo) if memo else {}
    known: dict[int, bytes] = {}
    for place, part in parts.items():
        state, held = (states[part[0]], kept.get(part)) if part else (None, None)
        if held is not None and held[0] == state:
            known[place] = held[1]
    earlier, known = (known, {}) if storage.verify else ({}, known)
    missing = sorted(place for place in parts if place not in known)
    began = time.time_ns()
    known |= _read(source, missing, storage.workers, progress)
    if altered := [place for place, content in earlier.items() if known[place] != content]:
        progress.note(f"warning: {len(altered):,} images differ from their kept digests although size and times of the "
                      f"files are the same, first {source.where(altered[0])}")  # fmt: skip
    settled = {}
    for place in missing:
        part = parts[place]
        state = states[part[0]] if part else None
        if part and state and known[place] != UNREADABLE and began - state[2] > _SETTLED:
            settled[part] = (state, known[place])
    if memo and settled:
        _keep(memo, {**kept, **settled})
    return [known[place] for place in places]


def _read(source: Source, places: list[int], workers: int, progress: Progress) -> dict[int, bytes]:
    """The digests of images, read in the order of their storage."""
    chunks = [places[i : i + _CHUNK] for i in range(0, len(places), _CHUNK)]

    def digests(chunk: list[int]) -> list[bytes]:
        return [_digest(source.encoded, place) for place in chunk]

    found: list[bytes] = []
    if len(places) < _LONG:
        return dict(zip(places, (d for chunk in chunks for d in digests(chunk)), strict=True))
    with (
        stage(progress, "digests of the images", len(places), "image") as advance,
        ThreadPoolExecutor(max(1, workers), thread_name_prefix="digest") as pool,
    ):
        for some in pool.map(digests, chunks):
            found += some
            advance(len(some))
    return dict(zip(places, found, strict=True))


def _digest(encoded: Callable[[int], bytes], place: int) -> bytes:
    try:
        return hashlib.sha256(encoded(place)).digest()
    except MemoryError:
        raise
    except Exception:  # whatever the container's reader raises; a run names the image
        return UNREADABLE


def _states(paths: Iterable[str]) -> dict[str, Stamp | None]:
    """Size, times and inode of files; None for one that is not there."""
    out: dict[str, Stamp | None] = {}
    for path in paths:
        if path not in out:
            try:
                found = os.stat(path)
            except OSError:
                out[path] = None
            else:
                out[path] = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino & _SIGNED)
    return out


def _memo(storage: Storage, source: Source) -> Path | None:
    """The file with the digests of one folder or container."""
    if storage.cache is None or not source.files:
        return None
    about = [_VERSION, [str(path.resolve()) for path in source.files]]
    return storage.cache / f"digests-{hashlib.sha256(canonical(about)).hexdigest()[:32]}"


def _load(path: Path) -> Kept:
    table = read_table(path)
    if table is None:
        return {}
    files, parts, digests, *numbers = (table.column(name).to_pylist() for name in ("file", "part", "digest", *_STATE))
    files = map(os.fsdecode, files)
    return dict(zip(zip(files, parts, strict=True), zip(zip(*numbers, strict=True), digests, strict=True), strict=True))


def _keep(path: Path, kept: Kept) -> None:
    states = list(zip(*(state for state, _ in kept.values()), strict=True))
    columns = {
        "file": [os.fsencode(file) for file, _ in kept],
        "part": [part for _, part in kept],
        "digest": [content for _, content in kept.values()],
        **{name: pa.array(column, pa.int64()) for name, column in zip(_STATE, states, strict=True)},
    }
    keep_table(path, pa.table(columns))

"""What the caches below BENCH_HOME hold, and the removal of what was not used for longest; keys are never touched."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.core.errors import BusyError, InputError, StorageError
from bench.core.temporary import SUFFIX as PART
from bench.core.temporary import sweep
from bench.store.files import locked, removed_at_once, sync_folder
from bench.store.home import Home

CacheKind = Literal["adversarial", "models", "training", "indexes", "results", "unknown"]
# Copies of results may hold what has not reached their URL yet, and the unknown may be anything: both are only listed.
REMOVABLE: tuple[CacheKind, ...] = ("adversarial", "models", "training", "indexes")
_IMAGES = re.compile(r"[0-9a-f]{64}\.(images|safetensors)")  # earlier versions wrote safetensors
_MODEL = re.compile(r"[0-9a-f]{32}")
# Seconds without a change after which a training is not in use; several processes lock nothing.
_IDLE = 86400.0


@dataclass(frozen=True)
class Cached:
    """A file or folder of a cache: its size in bytes, and when it was made or read last, in seconds since 1970."""

    kind: CacheKind
    path: Path
    size: int
    used: float


def entries(home: Home) -> list[Cached]:
    """Everything below ``home`` except the keyring, temporary files and locks; least recently used first."""
    cache = home.root / "cache"
    found = [
        *_images(home.adversarial),
        *_folders(home.models, "models"),
        *_folders(cache / "training", "training"),
        *(_entry("indexes" if path.is_file() else "unknown", path) for path in _inside(home.indexes)),
        *(_entry("results", path) for path in _inside(home.results)),
    ]
    known = {home.adversarial, home.models, cache / "training", home.indexes, home.results}
    rest = [p for p in _inside(home.root) if p not in (home.keys, cache)] + [
        p for p in _inside(cache) if p not in known
    ]
    found += [_entry("unknown", path) for path in rest]
    return sorted(found, key=lambda entry: (entry.used, entry.path))


def collected(
    found: list[Cached], *, kind: str | None, most: int | None, older: float | None, going: Callable[[Cached], bool]
) -> tuple[list[Cached], list[Cached]]:
    """What goes and what is held, least recently used first; for what is held the next ones go, to keep the bound.

    Args:
        found: The result of :func:`entries`.
        kind: One of :data:`REMOVABLE`; None for all of them.
        most: Bytes that the entries of the kind may have together; None for any number.
        older: Seconds since the last use after which an entry goes; None for never.
        going: Removes an entry, or only says that it may go; False if it is held.

    Raises:
        InputError: if the kind is unknown, or neither bound is given.
    """
    if kind is not None and kind not in REMOVABLE:
        raise InputError(f"--kind is {kind[:40]!r}; expected one of {', '.join(REMOVABLE)}")
    if most is None and older is None:
        raise InputError("no bound is given; expected --most SIZE, e.g. 50GB, or --older AGE, e.g. 30d")
    able = [entry for entry in found if entry.kind in REMOVABLE and kind in (None, entry.kind)]
    left, now = sum(entry.size for entry in able), time.time()
    gone: list[Cached] = []
    held: list[Cached] = []
    for entry in able:
        if (older is not None and now - entry.used > older) or (most is not None and left > most):
            if going(entry):
                gone.append(entry)
                left -= entry.size
            else:
                held.append(entry)
    return gone, held


def remove(entry: Cached, home: Home) -> bool:
    """Remove it at once; False if a process holds it, or used it since it was listed.

    Raises:
        StorageError: if it cannot be removed.
    """
    try:
        if entry.kind in ("models", "training"):
            with locked(home.models / f"{entry.path.name}.lock", busy=lambda holder: holder):
                return _unused(entry) and removed_at_once(entry.path, entry.path / "manifest.json")
        if not _unused(entry):
            return False
        entry.path.unlink()
    except BusyError:
        return False
    except FileNotFoundError:
        return True
    except OSError as error:
        raise StorageError(f"cannot remove {entry.path}: {error.strerror}; expected a BENCH_HOME that can be written"
                           ) from error  # fmt: skip
    sync_folder(entry.path.parent)
    return True


def sweep_all(home: Home) -> None:
    """Remove what an interrupted removal or a killed process left half-way."""
    for folder in (home.models, home.models.parent / "training", home.indexes, *_inside(home.adversarial)):
        sweep(folder)


def _unused(entry: Cached) -> bool:
    used = _used(entry.path)
    return used <= entry.used and (entry.kind != "training" or time.time() - used > _IDLE)


def _images(folder: Path) -> Iterator[Cached]:
    for shelf in _inside(folder):
        for path in _inside(shelf) if shelf.is_dir() and not shelf.is_symlink() else [shelf]:
            yield _entry("adversarial" if _IMAGES.fullmatch(path.name) and path.is_file() else "unknown", path)


def _folders(folder: Path, kind: CacheKind) -> Iterator[Cached]:
    for path in _inside(folder):
        yield _entry(kind if _MODEL.fullmatch(path.name) and path.is_dir() else "unknown", path)


def _inside(folder: Path) -> list[Path]:
    """The names in a folder, without those that are being written, and locks; none if there is no such folder."""
    with suppress(OSError):
        return [p for p in sorted(folder.iterdir()) if p.suffix not in (PART, ".lock")]
    return []


def _entry(kind: CacheKind, path: Path) -> Cached:
    link = path.is_symlink()
    size = 0 if link else sum(s.st_size for s in map(_stat, _files(path)) if s)
    return Cached("unknown" if link else kind, path, size, _used(path))


def _used(path: Path) -> float:
    """The latest change of its files, which reading one notes too."""
    times = [s.st_mtime for s in map(_stat, _files(path)) if s]
    return max(times, default=0.0)


def _files(path: Path) -> list[Path]:
    if path.is_symlink() or not path.is_dir():
        return [path]
    return [Path(base, name) for base, _, names in os.walk(path) for name in names] or [path]


def _stat(path: Path) -> os.stat_result | None:
    with suppress(OSError):
        return path.lstat()
    return None

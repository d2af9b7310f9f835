"""Atomic file writes (temporary name, fsync, rename), and locks between processes."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from bench.core.errors import BusyError, StorageError
from bench.core.life import this_process
from bench.core.temporary import new_part, new_part_folder


def write_whole(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write ``data`` so that ``path`` contains either all of it or its previous content.

    Raises:
        StorageError: if the folder cannot be written or the disk is full; the temporary file is removed.
    """
    _write(path, data, mode, os.replace)


def write_new(path: Path, data: bytes, *, mode: int = 0o644) -> bool:
    """Write ``data`` atomically to a new file; if several processes try, one succeeds.

    Returns:
        False if the file exists already; it is not changed.

    Raises:
        StorageError: if the folder cannot be written or the disk is full; the temporary file is removed.
    """
    try:
        _write(path, data, mode, _link)
    except _TakenError:
        return False
    return True


class _TakenError(Exception):
    """The file exists already."""


def _link(name: str, path: Path) -> None:
    try:
        os.link(name, path)  # unlike a rename, it never replaces
    except FileExistsError:
        raise _TakenError from None
    os.unlink(name)


def _write(path: Path, data: bytes, mode: int, put: Callable[[str, Path], None]) -> None:
    """Write a temporary file next to ``path``, make it durable, and move it into place with ``put``."""
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = new_part(path)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                os.fchmod(file.fileno(), mode)
                put(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def used(path: Path) -> None:
    """Note that a file of a cache was used now, as its time of change; the access time is often not kept."""
    with suppress(OSError):  # a cache that cannot be written can still be read
        os.utime(path)


_held: dict[Path, int] = {}


def hold(path: Path) -> None:
    """Keep a file of a cache, and the folder that it stands for, from removal until this process ends."""
    with suppress(OSError):  # no such file, or no locks here
        handle = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_SH)  # waits for a removal
        except OSError:
            os.close(handle)
            raise
        former = _held.get(path)
        _held[path] = handle
        if former is not None:
            os.close(former)


def removed_at_once(folder: Path, held: Path) -> bool:
    """Remove ``folder``, which is whole until it is gone; False if a process holds its file ``held``.

    If this is interrupted, :func:`bench.core.temporary.sweep` removes the rest.

    Raises:
        OSError: if it cannot be removed.
    """
    with ExitStack() as stack:
        with suppress(FileNotFoundError):
            file = stack.enter_context(held.open("rb"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        handle, part = new_part_folder(folder)
        try:
            folder.rename(part / folder.name)
            sync_folder(folder.parent)
            shutil.rmtree(part)
        finally:
            os.close(handle)
    return True


@contextmanager
def locked(
    path: Path, *, busy: Callable[[str], str] | None = None, waiting: Callable[[str], None] = lambda holder: None
) -> Iterator[None]:
    """Hold the lock file ``path`` exclusively, and remove it afterwards, with its folder if that is empty.

    Args:
        path: Its folder is created if it does not exist.
        busy: Error message if another process holds it, from a description of that process; None waits for it.
        waiting: Called with that description before it is waited for.

    Raises:
        BusyError: if another process holds it, and ``busy`` was given.
        StorageError: if it cannot be written.
    """
    while True:
        with _explained(path):
            missing = [p for p in path.parents if not p.exists()]
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("a+b")
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if busy:
                    raise BusyError(busy(_holder(path))) from None
                waiting(_holder(path))
                fcntl.flock(file, fcntl.LOCK_EX)
            if not _is_at(path, file):
                continue  # the previous holder removed it, and a third process may hold a new one
            with suppress(OSError):  # a full disk: the lock holds without it
                file.truncate(0)
                file.write(f"{this_process()} since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC".encode())
                file.flush()
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
                with suppress(OSError):
                    for made in missing:
                        made.rmdir()
            return


def _holder(path: Path) -> str:
    """The process that holds a lock."""
    with suppress(OSError):
        return path.read_text(errors="replace") or "another process"
    return "another process"


def _is_at(path: Path, file: IO[bytes]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def check_writable(folder: Path) -> None:
    """Write and remove a small file, leaving nothing behind, not even the folder.

    Raises:
        StorageError: if that fails.
    """
    missing = [p for p in (folder, *folder.parents) if not p.exists()]
    with _explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        for made in missing:
            made.rmdir()


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StorageError(f"cannot write {path}: {reason}; expected a writable folder with free space") from error

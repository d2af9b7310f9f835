"""Temporary files and folders next to their final place: locked while in use, removed once their process is gone."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

SUFFIX = ".part"


def new_part(path: Path, *, swept: bool = False) -> tuple[int, str]:
    """Handle and name of a new file ``.NAME.*.part`` next to ``path``; leftovers in its folder are removed first.

    The file is locked until the handle is closed: then :func:`sweep` may remove it.

    Args:
        path: The final place.
        swept: The folder has been swept; for many files in one folder.

    Raises:
        OSError: if the folder cannot be written.
    """
    if not swept:
        sweep(path.parent)
    while True:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=SUFFIX, dir=path.parent)
        if _held(handle, name):
            return handle, name
        os.close(handle)


def new_part_folder(path: Path) -> tuple[int, Path]:
    """The same for a folder: its handle, to be closed, and its path.

    Raises:
        OSError: as :func:`new_part`.
    """
    sweep(path.parent)
    while True:
        name = tempfile.mkdtemp(prefix=f".{path.name}.", suffix=SUFFIX, dir=path.parent)
        with suppress(FileNotFoundError):  # swept before it was opened
            handle = os.open(name, os.O_RDONLY)
            if _held(handle, name):
                return handle, Path(name)
            os.close(handle)


def sweep(folder: Path) -> None:
    """Remove the temporary files and folders in ``folder`` that no process is writing; a link is never followed."""
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            if entry.name.startswith(".") and entry.name.endswith(SUFFIX) and not entry.is_symlink():
                with suppress(OSError):  # locked, or another process was faster
                    _remove(Path(entry.path))


def _remove(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    finally:
        os.close(handle)


def _held(handle: int, name: str) -> bool:
    """Lock a new part; False if it was swept before."""
    with suppress(OSError):  # a file system without locks: then nothing there is swept either
        fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        return os.path.samestat(os.stat(name), os.fstat(handle))
    except FileNotFoundError:
        return False

"""The folder of the site: files written atomically, and leftovers of an earlier build removed."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from bench.core.errors import StorageError
from bench.core.temporary import new_part, sweep

MANIFEST = ".generated"
KEPT = "README.md"  # not generated


def write_site(out: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Make the folder contain ``files``, by relative path, and no other file of an earlier build.

    Files that are not in the manifest of an earlier build are never removed.

    Raises:
        StorageError: if the folder cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        old = _generated(out)
        for folder in {out, *((out / name).parent for name in files)}:
            sweep(folder)
        # The manifest lists old and new files during the change, so that an interrupted build leaves no orphans.
        _write(out / MANIFEST, _manifest({*old, *files}))
        for name, data in files.items():
            _write(out / name, data)
        _remove(out, old - set(files))
        _write(out / MANIFEST, _manifest(files))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StorageError(f"cannot write the site to {out}: {reason}; expected a writable folder") from error
    return [out / name for name in files]


def weight(data: Iterable[bytes]) -> tuple[int, int]:
    """Size in bytes, and size as served by a host (gzip)."""
    parts = list(data)
    return sum(map(len, parts)), sum(len(gzip.compress(part, mtime=0)) for part in parts)


def _manifest(names: Iterable[str]) -> bytes:
    return "".join(f"{name}\n" for name in sorted(names)).encode()


def _generated(out: Path) -> set[str]:
    """Paths in the manifest that lie inside the folder, whoever wrote the manifest."""
    manifest = out / MANIFEST
    if not manifest.is_file():
        return set()
    names = manifest.read_text(encoding="utf-8", errors="replace").splitlines()
    return {name for name in names if name and _inside(out, name)}


def _inside(out: Path, name: str) -> bool:
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or "\0" in name or name == KEPT:
        return False
    return (out / name).parent.resolve().is_relative_to(out.resolve())


def _remove(out: Path, names: Iterable[str]) -> None:
    for name in names:
        path = out / name
        if path.is_file() or path.is_symlink():
            path.unlink()
        folder = path.parent
        while folder != out and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent


def _write(path: Path, data: bytes) -> None:
    """Write atomically; skip an identical file. No fsync: a site can be rebuilt."""
    if not path.is_symlink() and path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = new_part(path, swept=True)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            if path.name != MANIFEST:
                path.unlink(missing_ok=True)  # a rename over a file waits for the disk on ext4: 3,000 of them for 12 s
            os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise

"""Writing a run as one archive: the same run gives the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field

from bench import __version__
from bench.core.errors import StorageError
from bench.core.frozen import Frozen
from bench.core.temporary import new_part
from bench.store.files import sync_folder

MANIFEST = "manifest.json"
SUFFIX = ".bench.zip"
_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest in the format


class Member(Frozen):
    """One file of the archive."""

    size: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Manifest(Frozen):
    """The content of an archive."""

    schema_version: Literal[1] = 1
    kind: Literal["submission"] = "submission"
    run_id: str = Field(pattern=r"^[0-9a-f]{16}$")
    version: str = Field(description="of the keybench that packed it")
    members: dict[str, Member]


def shard_name(index: int) -> str:
    """The member with the adversarial images of a shard."""
    return f"adversarial/{index:05d}.safetensors"


def write_pack(path: Path, run_id: str, members: Iterable[tuple[str, bytes]]) -> int:
    """Write an archive atomically, one member after the other; the same members give the same bytes.

    Nothing is compressed: parquet and PNG already are, noise does not compress, and the bytes must not depend on a
    library's version.

    Args:
        path: Path of the archive.
        run_id: Id of the run.
        members: Names and bytes; the manifest is generated here.

    Returns:
        The archive's size in bytes.

    Raises:
        StorageError: if it cannot be written; no partial file remains.
    """
    held: dict[str, Member] = {}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = new_part(path)
        try:
            with os.fdopen(handle, "wb") as file:
                with zipfile.ZipFile(file, "w") as archive:
                    for name, data in members:
                        held[name] = Member(size=len(data), sha256=hashlib.sha256(data).hexdigest())
                        archive.writestr(_entry(name), data)
                    manifest = Manifest(run_id=run_id, version=__version__, members=held)
                    archive.writestr(_entry(MANIFEST), json.dumps(manifest.model_dump(), indent=2).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
                os.fchmod(file.fileno(), 0o644)
                os.replace(part, path)
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StorageError(f"cannot write {path}: {reason}; expected a writable folder with free space") from error
    return path.stat().st_size


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _DATE)
    entry.create_system, entry.external_attr = 3, (stat.S_IFREG | 0o644) << 16
    return entry

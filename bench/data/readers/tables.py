"""Tables that are cached between runs, each with a digest of its bytes: a damaged one is as good as none."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bench.core.temporary import new_part

_DIGEST = 32  # bytes of SHA-256 before the table


def read_table(path: Path) -> pa.Table | None:
    """The cached table, or None if there is none or its bytes differ from those that were written."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(data[_DIGEST:]).digest() != data[:_DIGEST]:
        return None
    return pq.read_table(io.BytesIO(data[_DIGEST:]))


def keep_table(path: Path, table: pa.Table) -> None:
    """Cache a table atomically; if the folder cannot be written, it is not cached."""
    out = io.BytesIO()
    pq.write_table(table, out)
    data = out.getvalue()
    with contextlib.suppress(OSError):
        _write_whole(path, hashlib.sha256(data).digest() + data)


def _write_whole(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = new_part(path)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise

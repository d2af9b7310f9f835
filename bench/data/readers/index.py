"""Index of the images in archives with their offsets; cached between runs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bench.core.canonical import canonical
from bench.data.readers.tables import keep_table, read_table

Numbers = np.ndarray[Any, np.dtype[np.int64]]
Located = tuple[str, int, int, int, int]
_VERSION = 1  # of the stored format
_COLUMNS = ("name", "label", "archive", "start", "size")


@dataclass(frozen=True)
class Index:
    """The images of some archives, one row each.

    In a tar file an image is ``sizes`` bytes from ``starts``; in a Parquet file it is row ``sizes`` of row group
    ``starts``. A label is -1 if the archive does not contain it.
    """

    names: Sequence[str]
    labels: Numbers
    archives: Numbers
    starts: Numbers
    sizes: Numbers

    @staticmethod
    def of(rows: Sequence[Located]) -> Index:
        """An index from rows of name, label, archive, start and size."""
        numbers = np.array([row[1:] for row in rows], dtype=np.int64).reshape(-1, 4).T
        return Index([row[0] for row in rows], *numbers)


def remembered(cache: Path | None, kind: str, archives: Sequence[Path], make: Callable[[], Index]) -> Index:
    """The cached index of these archives if they are unchanged, or a new one, which is cached if possible.

    Args:
        cache: Folder of indexes, or None to disable caching.
        kind: The reading method for the archives.
        archives: Their paths; a change of size or time invalidates the index.
        make: Reads the archives.
    """
    if cache is None:
        return make()
    stats = [(str(path.resolve()), path.stat()) for path in archives]
    about = [_VERSION, kind, [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]]
    path = cache / f"index-{hashlib.sha256(canonical(about)).hexdigest()[:32]}"
    table = read_table(path)
    if table is not None:
        names, *numbers = (table.column(name) for name in _COLUMNS)
        return Index(names.to_pylist(), *(column.to_numpy() for column in numbers))
    made = make()
    columns = (made.names, made.labels, made.archives, made.starts, made.sizes)
    keep_table(path, pa.table(dict(zip(_COLUMNS, columns, strict=True))))
    return made

"""Hugging Face's Parquet shards: a struct of bytes and path, and a label."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bench.core.errors import InputError
from bench.data.readers.index import Index, Located

_GROUPS = 2  # row groups cached per thread; Hugging Face writes 100 images to a group
_OPEN = 16  # shards kept open per thread


class ParquetSource:
    """Reads images by row group and row, one whole group at a time."""

    def __init__(self, shards: Sequence[Path], index: Index, column: str = "image") -> None:
        self.files, self._index, self._column = tuple(shards), index, column
        self._local = threading.local()

    def encoded(self, place: int) -> bytes:
        """The bytes of a row."""
        index = self._index
        group = self._group(int(index.archives[place]), int(index.starts[place]))
        data: bytes | None = group[int(index.sizes[place])].as_py()
        if data is None:
            raise OSError("the row has no bytes")
        return data

    def part(self, place: int) -> tuple[str, str]:
        """The shard, and the row of it."""
        index = self._index
        return str(self.files[int(index.archives[place])]), f"{index.starts[place]}/{index.sizes[place]}"

    def where(self, place: int) -> str:
        """The shard and the image's name in it."""
        return f"{self.files[int(self._index.archives[place])]}: {self._index.names[place]}"

    def _group(self, shard: int, group: int) -> Any:
        """The bytes of a row group, from this thread's cache or from disk."""
        local = self._local
        if getattr(local, "process", None) != os.getpid():  # a fork must not use its parent's handles
            local.process, local.files, local.groups = os.getpid(), OrderedDict(), OrderedDict()
        key = (shard, group)
        if key not in local.groups:
            if shard not in local.files:
                local.files[shard] = pq.ParquetFile(self.files[shard], memory_map=True)
                _trim(local.files, _OPEN)
            local.files.move_to_end(shard)
            table = local.files[shard].read_row_group(group, columns=[f"{self._column}.bytes"], use_threads=False)
            local.groups[key] = table.column(self._column).combine_chunks().field("bytes")
            _trim(local.groups, _GROUPS)
        local.groups.move_to_end(key)
        return local.groups[key]

    def __getstate__(self) -> tuple[tuple[Path, ...], Index, str]:
        return self.files, self._index, self._column

    def __setstate__(self, state: tuple[tuple[Path, ...], Index, str]) -> None:
        self.__init__(*state)  # type: ignore[misc]


def parquet_index(shards: Sequence[Path], column: str = "image") -> Index:
    """Names and labels of all rows; no image is read.

    Raises:
        InputError: if a shard is not a complete Parquet file, or has other columns.
    """
    rows: list[Located] = []
    for number, shard in enumerate(shards):
        try:
            rows += _rows(shard, number, column)
        except (pa.ArrowException, OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{shard} is not a complete Parquet file: {reason}; expected it as downloaded") from None
    return Index.of(rows)


def _rows(shard: Path, number: int, column: str) -> list[Located]:
    with pq.ParquetFile(shard) as file:
        present = file.schema_arrow.names
        if column not in present or "label" not in present:
            raise InputError(f"{shard} has the columns {', '.join(present)}; expected {column} and label")
        kind = file.schema_arrow.field(column).type
        inside = [kind.field(i).name for i in range(kind.num_fields)] if pa.types.is_struct(kind) else []
        if not {"bytes", "path"} <= {*inside}:
            raise InputError(f"column {column} of {shard} is {kind}; expected a struct of bytes and path, as datasets "
                             "writes images")  # fmt: skip
        table = file.read(columns=["label", f"{column}.path"], use_threads=False)
        sizes = [file.metadata.row_group(g).num_rows for g in range(file.metadata.num_row_groups)]
    places = [(group, row) for group, size in enumerate(sizes) for row in range(size)]
    names = table.column(column).combine_chunks().field("path").to_pylist()
    labels = whole_labels(table.column("label"), str(shard))
    return [
        (name or "", label, number, group, row) for name, label, (group, row) in zip(names, labels, places, strict=True)
    ]


def whole_labels(column: Any, where: str) -> list[int]:
    """The labels of a column as whole numbers, -1 where there is none.

    Raises:
        InputError: they are texts, or numbers that are not whole.
    """
    values = column.to_pylist()
    for value in values:
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float)) or value % 1):
            raise InputError(f"{where} has the label {str(value)[:40]!r}; expected the whole number of a class")
    return [-1 if value is None else int(value) for value in values]


def _trim(held: OrderedDict[Any, Any], most: int) -> None:
    if len(held) > most:
        held.popitem(last=False)

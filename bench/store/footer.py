"""The footer of a Parquet file that anyone may have written: read here, and written anew for pyarrow.

pyarrow aborts the process over some footers (sizes of histograms that do not fit, unknown codecs). So it never sees one
that is not ours: of a file's footer, only the places and sizes of its columns are taken, each in its range. Statistics,
indexes, keys and the Arrow schema are left out.

Source: parquet-format, parquet.thrift (FileMetaData, SchemaElement, RowGroup, ColumnChunk, ColumnMetaData).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from bench.store.compact import BINARY, I32, I64, LIST, STRUCT, Compact, Steps, Struct, packed

CODECS = {0: "UNCOMPRESSED", 1: "SNAPPY", 6: "ZSTD"}  # by their numbers
_TYPES = {pa.int32(): 1, pa.float32(): 4, pa.float64(): 5, pa.string(): 6}
_UTF8 = 0  # converted type
_ENCODINGS = [0, 3, 8]  # plain, runs, dictionaries
_MAGIC = b"PAR1"


class FooterError(ValueError):
    """A footer says what cannot be true; ``field`` names of what."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(f"{field} {text}")
        self.field, self.text = field, text


@dataclass(frozen=True)
class Chunk:
    """A column of a row group: its codec, its values, its sizes in bytes, and where its pages start."""

    codec: int
    values: int
    unpacked: int
    packed: int
    data: int
    dictionary: int | None


@dataclass(frozen=True)
class Footer:
    """What is taken of a footer.

    Attributes:
        start: Where it starts.
        rows: Rows of the file.
        columns: Type, repetition, name and text (converted type) of each column.
        groups: Rows and columns of each row group.
        about: Texts by key.
    """

    start: int
    rows: int
    columns: list[tuple[Any, ...]]
    groups: list[tuple[int, list[Chunk]]]
    about: dict[str, str]

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return [name for _, _, name, _ in self.columns]

    def fits(self, schema: pa.Schema) -> bool:
        """Whether the columns are those of ``schema``."""
        return self.columns == [_column(field) for field in schema]

    def replaced(self, data: bytes, schema: pa.Schema) -> bytes:
        """The file with a footer that says the same and nothing else."""
        root = packed({4: (BINARY, b"schema"), 5: (I32, len(schema))})
        groups = [_group(rows, chunks, schema) for rows, chunks in self.groups]
        new = packed({1: (I32, 2), 2: (LIST, (STRUCT, [root, *map(_element, schema)])), 3: (I64, self.rows),
                      4: (LIST, (STRUCT, groups))})  # fmt: skip
        return data[: self.start] + new + len(new).to_bytes(4, "little") + _MAGIC


def read_footer(data: bytes) -> Footer:
    """The footer of a file's bytes.

    Raises:
        ValueError: if it is not that of a flat table, or what it says cannot be true.
    """
    size = int.from_bytes(data[-8:-4], "little")
    if data[:4] != _MAGIC or data[-4:] != _MAGIC or not 0 < size <= len(data) - 12:
        raise ValueError("it is not a Parquet file, or its footer lies outside it")
    start = len(data) - 8 - size
    reader = Compact(data[:-8], start, Steps())
    about = reader.struct()
    if reader.at != len(data) - 8:
        raise ValueError("the footer ends before its end")
    _, *elements = _structs(about, 2)
    columns = [(e.get(1), e.get(3), _text(e, 4), e.get(6)) for e in elements]
    groups = [_read_group(group, columns, start) for group in _structs(about, 4)]
    rows = _number(about, 3, 1 << 31)
    if sum(count for count, _ in groups) != rows:
        raise FooterError("rows", f"of its row groups do not add up to {rows}")
    texts = {_text(pair, 1): _text(pair, 2) for pair in _structs(about, 5)}
    return Footer(start, rows, columns, groups, texts)


def _read_group(group: Struct, columns: list[tuple[Any, ...]], end: int) -> tuple[int, list[Chunk]]:
    rows = _number(group, 3, 1 << 31)
    found = [_struct(chunk.get(3)) for chunk in _structs(group, 1)]
    if [(c.get(1), c.get(3)) for c in found] != [(kind, [name.encode()]) for kind, _, name, _ in columns]:
        raise ValueError("a row group has other columns than the file")
    return rows, [_read_chunk(chunk, rows, end) for chunk in found]


def _read_chunk(chunk: Struct, rows: int, end: int) -> Chunk:
    """A column; ``end`` is where the pages of the file end."""
    if (values := _number(chunk, 5, 1 << 31)) != rows:
        raise ValueError(f"a column has {values} values for {rows} rows")
    if (codec := _number(chunk, 4, 1 << 31)) not in CODECS:
        raise FooterError("compression", f"is number {codec} of the format; expected ZSTD")
    dictionary = _number(chunk, 11, end) if 11 in chunk else None
    return Chunk(codec, values, _number(chunk, 6, 1 << 40), _number(chunk, 7, end), _number(chunk, 9, end), dictionary)


def _group(rows: int, chunks: list[Chunk], schema: pa.Schema) -> bytes:
    columns = [
        packed({2: (I64, 0), 3: (STRUCT, _chunk(chunk, field))}) for chunk, field in zip(chunks, schema, strict=True)
    ]
    return packed({1: (LIST, (STRUCT, columns)), 2: (I64, sum(c.unpacked for c in chunks)), 3: (I64, rows)})


def _chunk(chunk: Chunk, field: pa.Field) -> bytes:
    fields = {
        1: (I32, _TYPES[field.type]),
        2: (LIST, (I32, _ENCODINGS)),
        3: (LIST, (BINARY, [field.name.encode()])),
        4: (I32, chunk.codec),
        5: (I64, chunk.values),
        6: (I64, chunk.unpacked),
        7: (I64, chunk.packed),
        9: (I64, chunk.data),
    }
    return packed(fields if chunk.dictionary is None else {**fields, 11: (I64, chunk.dictionary)})


def _column(field: pa.Field) -> tuple[Any, ...]:
    return _TYPES[field.type], int(field.nullable), field.name, _UTF8 if field.type == pa.string() else None


def _element(field: pa.Field) -> bytes:
    kind, repetition, name, text = _column(field)
    fields = {1: (I32, kind), 3: (I32, repetition), 4: (BINARY, name.encode())}
    return packed(fields if text is None else {**fields, 6: (I32, text)})


def _number(struct: Struct, field: int, most: int) -> int:
    value = struct.get(field)
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"a number of its footer is {value}; expected 0 to {most}")
    return value


def _text(struct: Struct, field: int) -> str:
    value = struct.get(field, b"")
    if type(value) is not bytes:
        raise ValueError(f"a text of its footer is {'a number' if type(value) is int else 'of another type'}")
    return value.decode()


def _structs(struct: Struct, field: int) -> list[Struct]:
    found = struct.get(field, [])
    return [_struct(value) for value in found] if isinstance(found, list) else [_struct(found)]


def _struct(value: Any) -> Struct:
    if not isinstance(value, dict):
        raise ValueError("a part of its footer is not a struct")
    return value

"""Verdicts as Parquet: one run or many runs per file. Only this file, its footers and the intake import pyarrow."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bench.core.errors import CorruptArtifactError
from bench.store.footer import Footer, read_footer
from bench.store.seals import BLANK, FIELD, seal_table, table_damage

SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("label", pa.int32(), nullable=False),
        pa.field("clean_prediction", pa.int32()),
        pa.field("adversarial_prediction", pa.int32()),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("distance", pa.float32()),
        pa.field("attack", pa.string(), nullable=False),
        pa.field("source_prediction", pa.int32()),
        pa.field("image_sha256", pa.string()),
        pa.field("other_prediction", pa.int32()),
        pa.field("noise_prediction", pa.int32()),
        pa.field("quantized_prediction", pa.int32()),
        pa.field("share", pa.float64()),
        pa.field("phase", pa.int32()),
    ]
)
_ALWAYS = SCHEMA.names.index("image_sha256") + 1  # a later column is written only if an image has a value in it
RUNS_SCHEMA = pa.schema([pa.field("run_id", pa.string(), nullable=False), *SCHEMA])
_TEXTS = [field.name for field in RUNS_SCHEMA if field.type == pa.string()]


def expected(names: Iterable[str]) -> pa.Schema:
    """The schema of a verdict file that has the columns ``names``: some of the last ones may be missing."""
    given = set(names)
    return pa.schema([field for at, field in enumerate(SCHEMA) if at < _ALWAYS or field.name in given])


def every(columns: Iterable[tuple[str, list[Any]]]) -> list[list[Any]]:
    """A file's columns in the order of ``SCHEMA``, with null in each one that it lacks."""
    given = dict(columns)
    rows = len(given[SCHEMA.names[0]])
    return [given.get(name, [None] * rows) for name in SCHEMA.names]


def encode(columns: list[list[Any]], about: dict[str, Any] | None = None, address: str = "") -> bytes:
    """One run's verdicts as a file; the same values give the same bytes.

    Args:
        columns: The values.
        about: Goes to the file's metadata.
        address: Where the file belongs; its digest is only right there.
    """
    table = _table(columns, SCHEMA)
    return _sealed(table, {} if about is None else {"about": json.dumps(about)}, address)


def decode(path: Path, address: str = "") -> tuple[list[list[Any]], dict[str, Any]]:
    """The columns of one run's file as plain values, and its metadata.

    Raises:
        CorruptArtifactError: if it is not a verdict file, is damaged, or belongs to another address.
    """
    try:
        data = path.read_bytes()
        if damage := table_damage(data, address):
            raise ValueError(damage)
        footer = read_footer(data)
        if not footer.fits(schema := expected(footer.names)):
            raise ValueError(f"columns are {footer.names}, expected {SCHEMA.names}")
        table = read_columns(data, footer, schema)
        about = json.loads(footer.about.get("about", "{}"))
        plain = [column.to_pylist() for column in table.columns]
        return every(zip(table.schema.names, plain, strict=True)), about
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise CorruptArtifactError(f"verdict file {path} cannot be read: {reason}") from None
    except Exception as error:  # a reader may raise anything for a damaged file
        raise CorruptArtifactError(f"verdict file {path} cannot be read: {' '.join(str(error).split())}") from None


def read_columns(data: bytes, footer: Footer, schema: pa.Schema, shared: list[str] | None = None) -> pa.Table:
    """The columns of a file, through a footer of our own.

    Args:
        data: The file.
        footer: Its footer, which fits the schema.
        schema: The schema.
        shared: Columns of texts that are to be stored once.
    """
    source = pa.BufferReader(footer.replaced(data, schema))
    return pq.ParquetFile(source, read_dictionary=shared).read(use_threads=False)  # read_table imports pyarrow.dataset


def encode_runs(runs: Mapping[str, list[list[Any]]]) -> bytes:
    """The verdicts of many runs as one file, in the order of their ids; repeated texts are stored once."""
    names = [name for name in sorted(runs) for _ in runs[name][0]]
    parts = [[value for name in sorted(runs) for value in runs[name][at]] for at in range(len(SCHEMA))]
    return _bytes(_table([names, *parts], RUNS_SCHEMA))


class RunTable:
    """The verdicts of many runs, read once.

    Args:
        path: A file of :func:`encode_runs`.

    Raises:
        CorruptArtifactError: if it is not such a file, or the rows of a run are not contiguous.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            data = path.read_bytes()
            footer = read_footer(data)
            if not footer.fits(schema := pa.schema([RUNS_SCHEMA.field(0), *expected(footer.names)])):
                raise ValueError(f"columns are {footer.names}, expected {RUNS_SCHEMA.names}")
            table = read_columns(data, footer, schema, _TEXTS)
            self._columns = [_whole(column) for column in table.columns]
            self._names = table.schema.names
            self._words = [c.dictionary.to_pylist() if _is_text(c) else None for c in self._columns]
        except (OSError, ValueError, pa.ArrowException) as error:
            raise CorruptArtifactError(f"verdict file {path} cannot be read: {' '.join(str(error).split())}") from None
        self._places = self._find(self._columns[0], self._words[0] or [])

    def encode(self, run_id: str) -> bytes:
        """The verdicts of one run in the format of :func:`encode`, without conversion to Python values (or pandas).

        Raises:
            CorruptArtifactError: if there are no rows of this run.
        """
        start, count = self._place(run_id)
        parts = [column.slice(start, count) for column in self._columns[1:]]
        whole = [part.dictionary_decode() if _is_text(part) else part for part in parts]
        return _sealed(_used(pa.Table.from_arrays(whole, schema=expected(self._names))), {}, "")

    def columns(self, run_id: str) -> list[list[Any]]:
        """The columns of one run as plain values, in the order of ``SCHEMA``.

        Raises:
            CorruptArtifactError: if there are no rows of this run.
        """
        start, count = self._place(run_id)
        out = []
        for name, column, words in zip(self._names[1:], self._columns[1:], self._words[1:], strict=True):
            part = column.slice(start, count)
            if words is None:
                out.append((name, part.to_pylist()))
            else:
                out.append((name, [None if at is None else words[at] for at in part.indices.to_pylist()]))
        return every(out)

    def _place(self, run_id: str) -> tuple[int, int]:
        if run_id not in self._places:
            raise CorruptArtifactError(f"verdict file {self._path} has no rows of run {run_id}")
        return self._places[run_id]

    def _find(self, column: pa.DictionaryArray, names: list[str]) -> dict[str, tuple[int, int]]:
        """First row and number of rows of each run."""
        places: dict[str, tuple[int, int]] = {}
        if not len(column):
            return places
        runs, start = pc.run_end_encode(column.indices), 0
        for end, at in zip(runs.run_ends.to_pylist(), runs.values.to_pylist(), strict=True):
            if names[at] in places:
                raise CorruptArtifactError(f"verdict file {self._path} has the rows of run {names[at]} in two places")
            places[names[at]] = (start, end - start)
            start = end
        return places


def _table(columns: list[list[Any]], schema: pa.Schema) -> pa.Table:
    arrays = [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)]
    return _used(pa.Table.from_arrays(arrays, schema=schema))


def _used(table: pa.Table) -> pa.Table:
    """The table without those of the last columns that hold no value."""
    names = [f.name for f, c in zip(table.schema, table.columns, strict=True) if c.null_count < len(c)]
    schema = expected(names)
    first = [name for name in table.schema.names if name not in SCHEMA.names]
    return table.select([*first, *schema.names])


def _sealed(table: pa.Table, about: dict[str, str], address: str) -> bytes:
    return seal_table(_bytes(table.replace_schema_metadata({**about, "digest": f"{FIELD}={BLANK}"})), address)


def _bytes(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _whole(column: pa.ChunkedArray) -> pa.Array:
    found = column.combine_chunks()
    return found.chunk(0) if isinstance(found, pa.ChunkedArray) else found


def _is_text(column: pa.Array) -> bool:
    return bool(pa.types.is_dictionary(column.type))

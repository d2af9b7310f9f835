"""An untrusted verdict file: its declarations are checked before any page is decompressed."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bench.core.canonical import digest
from bench.core.nouns import Outcome
from bench.store.compact import Steps
from bench.store.footer import Footer, FooterError, read_footer
from bench.store.parquet import SCHEMA, every, expected, read_columns
from bench.store.untrusted import RefusedError, harm, tame
from bench.store.verdicts import Row, columns_digest
from bench.submissions.pages import unpacked_size

FILE = "verdicts.parquet"
MOST_BYTES = 64_000_000
MOST_ROWS = 100_000  # twice ImageNet's validation images
_MOST_UNPACKED = 64_000_000
# Per row, on disk and decompressed: a record's own rows take about 90 bytes, a long path as id some hundred more.
_ROW_BYTES = 4096
_SLACK = 1 << 20  # of a file with few rows: footer, page headers
_FOOTER = 1_000_000  # bytes
_GROUPS = 100
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TEXTS = [field.name for field in SCHEMA if field.type == pa.string()]


@dataclass(frozen=True)
class Verdicts:
    """A verdict file, by column; numbers are float64 with NaN for null.

    Attributes:
        texts: Columns of text, null as None.
        numbers: Columns of numbers, shape (n,).
        plain: All columns as Python values, in the schema's order, as used for digests.
    """

    texts: dict[str, list[Any]]
    numbers: dict[str, np.ndarray]
    plain: list[list[Any]]

    @property
    def rows(self) -> list[Row]:
        """The rows in the common format."""
        at = SCHEMA.names.index("outcome")
        named = {outcome.value: outcome for outcome in Outcome}
        columns: list[Any] = [*self.plain]
        columns[at] = [named[text] for text in columns[at]]
        return [Row(*values) for values in zip(*columns, strict=True)]

    @property
    def digest(self) -> str:
        """As ``bench.store.verdicts.rows_digest``."""
        return columns_digest(self.plain)

    @property
    def data_digest(self) -> str:
        """As ``bench.store.verdicts.images_digest``."""
        columns = (self.plain[SCHEMA.names.index(name)] for name in ("image_id", "label", "image_sha256"))
        return digest([list(values) for values in zip(*columns, strict=True)])


def parse_verdicts(data: bytes, images: int) -> Verdicts:
    """The verdicts in a file's bytes.

    Args:
        data: The file.
        images: Required number of rows.

    Raises:
        RefusedError: if it declares too much, has other columns, or contains a harmful text.
    """
    try:
        footer = _check_footer(data, images)
        # texts are shared: otherwise one of many rows is expanded for each
        table = read_columns(data, footer, expected(footer.names), _TEXTS)
        if table.num_rows != images:
            raise RefusedError(f"{FILE}: rows", f"are {table.num_rows}, metrics.images is {images}")
        plain = every((field.name, _column(table, field)) for field in expected(table.schema.names))
    except FooterError as error:
        raise RefusedError(f"{FILE}: {error.field}", error.text) from None
    except (pa.ArrowException, OSError, ValueError, OverflowError, IndexError, TypeError) as error:
        raise RefusedError(FILE, f"cannot be read: {' '.join(str(error).split())}") from None
    named = dict(zip(SCHEMA.names, plain, strict=True))
    numbers = {name: np.array(named[name], dtype=np.float64) for name in SCHEMA.names if name not in _TEXTS}
    verdicts = Verdicts({name: named[name] for name in _TEXTS}, numbers, plain)
    _check_values(verdicts)
    return verdicts


def _check_footer(data: bytes, images: int) -> Footer:
    """Check everything that is known of a file without decompressing a page."""
    if len(data) > min(MOST_BYTES, _SLACK + _ROW_BYTES * images):
        raise RefusedError(FILE, f"has {len(data)} bytes for {images} images")
    footer = int.from_bytes(data[-8:-4], "little")
    if data[-4:] == b"PAR1" and footer > _FOOTER:
        raise RefusedError(f"{FILE}: footer", f"declares {footer} bytes; expected at most {_FOOTER}")
    about = read_footer(data)
    if about.rows != images or images > MOST_ROWS:
        raise RefusedError(
            f"{FILE}: rows", f"are {about.rows}; expected {images} (metrics.images), at most {MOST_ROWS}"
        )
    if not about.fits(expected(about.names)):
        raise RefusedError(f"{FILE}: columns", f"are {', '.join(about.names)}; expected {', '.join(map(str, SCHEMA))}")
    if len(about.groups) > _GROUPS:
        raise RefusedError(f"{FILE}: row groups", f"are {len(about.groups)}; expected at most {_GROUPS}")
    chunks = [chunk for _, group in about.groups for chunk in group]
    declared = sum(chunk.unpacked for chunk in chunks)
    steps = Steps()
    unpacked = max(declared, sum(unpacked_size(data, chunk, steps) for chunk in chunks))
    if unpacked > min(_MOST_UNPACKED, _SLACK + _ROW_BYTES * images):
        raise RefusedError(f"{FILE}: sizes", f"it declares {unpacked} bytes unpacked for {images} rows")
    return about


def _column(table: pa.Table, field: pa.Field) -> list[Any]:
    """A column as Python values; each distinct text of a text column is checked once."""
    column = table.column(field.name)
    if not field.nullable and column.null_count:
        raise RefusedError(f"{FILE}: {field.name}", "holds null")
    if field.name not in _TEXTS:
        found: list[Any] = column.to_pylist()
        return found
    out: list[Any] = []
    for chunk in column.chunks:
        words = chunk.dictionary
        if len(words) and pc.max(pc.binary_length(words)).as_py() > _ROW_BYTES:
            raise RefusedError(f"{FILE}: {field.name}", f"contains a text of more than {_ROW_BYTES} bytes")
        texts = words.to_pylist()
        for text in texts:
            if wrong := harm(text):
                raise RefusedError(f"{FILE}: {field.name}", wrong)
        out += [None if at is None else texts[at] for at in chunk.indices.to_pylist()]
    return out


def _check_values(verdicts: Verdicts) -> None:
    """Check the values of each column, independent of the record."""
    known = {outcome.value for outcome in Outcome}
    if odd := next((text for text in set(verdicts.texts["outcome"]) if text not in known), None):
        raise RefusedError(f"{FILE}: outcome", f"is {tame(odd, 60)!r}; expected one of {', '.join(sorted(known))}")
    ids = verdicts.texts["image_id"]
    if len(set(ids)) != len(ids):
        seen: set[str] = set()
        twice = next(i for i in ids if i in seen or seen.add(i))  # type: ignore[func-returns-value]
        raise RefusedError(f"{FILE}: image_id", f"{tame(twice, 60)!r} appears twice; expected every image once")
    if any(not i for i in ids):
        raise RefusedError(f"{FILE}: image_id", "is empty")
    odd = next((t for t in verdicts.texts["image_sha256"] if t is not None and not _SHA256.fullmatch(t)), None)
    if odd is not None:
        raise RefusedError(f"{FILE}: image_sha256", f"is {tame(odd, 60)!r}; expected 64 hexadecimal digits")
    distance = verdicts.plain[SCHEMA.names.index("distance")]
    if not all(d is None or (0 <= d < float("inf") and math.copysign(1, d) > 0) for d in distance):
        raise RefusedError(f"{FILE}: distance", "is negative, -0, infinite or not a number")
    if not all(s is None or 0 <= s <= 1 for s in verdicts.plain[SCHEMA.names.index("share")]):
        raise RefusedError(f"{FILE}: share", "is not a number from 0 to 1")


def refuse_first(verdicts: Verdicts, wrong: np.ndarray, column: str, text: str) -> None:
    """Refuse the first row that is marked."""
    at = np.flatnonzero(wrong)
    if len(at):
        image = tame(verdicts.texts["image_id"][int(at[0])], 60)
        raise RefusedError(f"{FILE}: {column}", f"of image {image!r} {text}")

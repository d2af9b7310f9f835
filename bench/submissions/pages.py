"""What the pages of a parquet file unpack to, from their headers alone.

A footer's declarations need not be true: a page is decompressed to the size in its own header, whatever the footer
says, and zstd expands a few hundred kilobytes to gigabytes. Within a page, an encoding by differences expands once
more: every text repeats a part of the one before it. So the headers are read first, page by page.

Source: parquet-format, README (column chunks are pages one after the other) and parquet.thrift (PageHeader: field 2
uncompressed_page_size, 3 compressed_page_size, 5 data_page_header, 7 dictionary_page_header, 8 data_page_header_v2);
Thrift compact protocol specification.
"""

from __future__ import annotations

from bench.store.compact import Compact, Steps, Struct
from bench.store.footer import Chunk

_UNPACKED, _PACKED = 2, 3  # fields of PageHeader
_VALUES = 1  # field of each kind of page: number of its values
_ENCODED = {5: 2, 7: 2, 8: 4}  # kinds of pages by field, with the field of their encoding
_PLAIN = (0, 2, 3, 8)  # plain, dictionaries, runs: a page holds at most what it unpacks to


def unpacked_size(data: bytes, chunk: Chunk, steps: Steps) -> int:
    """Uncompressed bytes of the pages of a column chunk, according to their headers.

    Args:
        data: The file.
        chunk: The column chunk.
        steps: Limits the work over all chunks of the file.

    Raises:
        ValueError: if they are not pages, or not where the footer says, or too many, or encoded by differences, or have
            more values than the chunk has rows.
    """
    start, dictionary = chunk.data, chunk.dictionary
    at = min(start, dictionary) if dictionary else start
    end = at + chunk.packed
    if not 4 <= at <= end <= len(data):
        raise ValueError("a column lies outside the file")
    total = 0
    while at < end:
        reader = Compact(data, at, steps)
        fields = reader.struct()
        _check_kind(fields, chunk.values)
        if any(type(size := fields.get(field)) is not int or size < 0 for field in (_UNPACKED, _PACKED)):
            raise ValueError("a page has no sizes")
        total += fields[_UNPACKED]
        at = reader.at + fields[_PACKED]
    if at != end:
        raise ValueError("pages end behind their column")
    return total


def _check_kind(fields: Struct, rows: int) -> None:
    """Check number and encoding of the values of a page."""
    kinds = [(kind, fields[kind]) for kind in _ENCODED if kind in fields]
    if len(kinds) != 1 or not isinstance(kinds[0][1], dict):
        raise ValueError("a page is not of one kind")
    kind, about = kinds[0]
    if about.get(_ENCODED[kind]) not in _PLAIN:
        raise ValueError("a page is encoded by differences or in another way that can expand; expected plain values, "
                         "dictionaries or runs")  # fmt: skip
    values = about.get(_VALUES)
    if type(values) is not int or not 0 <= values <= rows:
        raise ValueError(f"a page declares {values} values for {rows} rows")

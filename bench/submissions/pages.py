"""What the pages of a parquet file unpack to, from their headers alone.

A footer's declarations need not be true: a page is decompressed to the size in its own header, whatever the footer
says, and zstd expands a few hundred kilobytes to gigabytes. Within a page, an encoding by differences expands once
more: every text repeats a part of the one before it. So the headers are read first, page by page.

Source: parquet-format, README (column chunks are pages one after the other) and parquet.thrift (PageHeader: field 2
uncompressed_page_size, 3 compressed_page_size, 5 data_page_header, 7 dictionary_page_header, 8 data_page_header_v2);
Thrift compact protocol specification.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow.parquet as pq

_UNPACKED, _PACKED = 2, 3  # fields of PageHeader
_VALUES = 1  # field of each kind of page: number of its values
_ENCODED = {5: 2, 7: 2, 8: 4}  # kinds of pages by field, with the field of their encoding
_PLAIN = {0, 2, 3, 8}  # plain, dictionaries, runs: a page holds at most what it unpacks to
_STEPS = 500_000  # bytes of headers of one file that are looked at; one of 100,000 rows needs about 10,000
_DEPTH = 8  # of structs in a header; the format has 3
_CODEC, _CHUNK, _CHUNK_DEPTH = 4, {5, 6, 7}, 5  # of ColumnMetaData: its codec, its sizes, its depth in a footer
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
_INTEGERS = (4, 5, 6)


def unpacked_size(data: bytes, chunk: pq.ColumnChunkMetaData, steps: Steps) -> int:
    """Uncompressed bytes of the pages of a column chunk, according to their headers.

    Args:
        data: The file.
        chunk: The column chunk.
        steps: Limits the work over all chunks of the file.

    Raises:
        ValueError: if they are not pages, or not where the footer says, or too many, or encoded by differences, or have
            more values than the chunk has rows.
    """
    start, dictionary = chunk.data_page_offset, chunk.dictionary_page_offset
    at = min(start, dictionary) if dictionary else start
    end = at + chunk.total_compressed_size
    if not 4 <= at <= end <= len(data):
        raise ValueError("a column lies outside the file")
    total = 0
    while at < end:
        reader = _Compact(data, at, steps)
        fields = reader.integers()
        _check_kind(reader.within, chunk.num_values)
        if not {_UNPACKED, _PACKED} <= fields.keys() or min(fields[_UNPACKED], fields[_PACKED]) < 0:
            raise ValueError("a page has no sizes")
        total += fields[_UNPACKED]
        at = reader.at + fields[_PACKED]
    if at != end:
        raise ValueError("pages end behind their column")
    return total


def codecs(data: bytes) -> list[int]:
    """Numbers of the codecs of all column chunks in a file's footer; pyarrow aborts the process over unknown ones.

    Raises:
        ValueError: if the footer is not one, or too long.
    """
    size = int.from_bytes(data[-8:-4], "little")
    if not 0 < size <= len(data) - 12:
        raise ValueError("the footer lies outside the file")
    reader = _Compact(data, len(data) - 8 - size, Steps())
    reader.integers()
    if any(_CODEC not in chunk for chunk in reader.chunks):
        raise ValueError("a column has no codec")
    return [chunk[_CODEC] for chunk in reader.chunks]


def _check_kind(within: dict[int, dict[int, int]], rows: int) -> None:
    """Check number and encoding of the values of a page."""
    kinds = [(kind, within[kind]) for kind in _ENCODED if kind in within]
    if len(kinds) != 1:
        raise ValueError("a page is not of one kind")
    kind, about = kinds[0]
    if about.get(_ENCODED[kind]) not in _PLAIN:
        raise ValueError("a page is encoded by differences or in another way that can expand; expected plain values, "
                         "dictionaries or runs")  # fmt: skip
    if not 0 <= about.get(_VALUES, -1) <= rows:
        raise ValueError(f"a page declares {about.get(_VALUES)} values for {rows} rows")


@dataclass
class Steps:
    """The bytes of page headers that may still be looked at."""

    left: int = _STEPS


class _Compact:
    """The part of Thrift's compact protocol that is needed to skip a struct.

    Attributes:
        at: Position in the data.
        within: Integers of the structs directly inside, by the struct's field.
        chunks: Integers of every ColumnMetaData, of a footer.
    """

    def __init__(self, data: bytes, at: int, steps: Steps) -> None:
        self._data, self.at, self._steps = data, at, steps
        self.within: dict[int, dict[int, int]] = {}
        self.chunks: list[dict[int, int]] = []

    def integers(self) -> dict[int, int]:
        """A struct's integers by field; everything else is skipped, except what goes to :attr:`within`."""
        return self._struct(0)

    def _struct(self, depth: int) -> dict[int, int]:
        if depth > _DEPTH:
            raise ValueError("a page header is nested too deep")
        found: dict[int, int] = {}
        field = 0
        while (head := self._byte()) != 0:
            step, kind = head >> 4, head & 0x0F
            field = field + step if step else self._integer()
            if kind in _INTEGERS:
                found[field] = self._integer()
            elif kind == _STRUCT and depth == 0:
                self.within[field] = self._struct(1)
            elif kind not in (_TRUE, _FALSE):
                self._skip(kind, depth)
        if depth == _CHUNK_DEPTH and found.keys() >= _CHUNK:
            self.chunks.append(found)
        return found

    def _skip(self, kind: int, depth: int) -> None:
        if kind in (_BYTE, _TRUE, _FALSE):
            self._move(1)
        elif kind in _INTEGERS:
            self._integer()
        elif kind == _DOUBLE:
            self._move(8)
        elif kind == _BINARY:
            self._move(self._varint())
        elif kind == _STRUCT:
            self._struct(depth + 1)
        elif kind in (_LIST, _SET):
            head = self._byte()
            count = self._varint() if head >> 4 == 0x0F else head >> 4
            for _ in range(min(count, self._steps.left + 1)):
                self._steps.left -= 1
                self._skip(head & 0x0F, depth + 1)
        else:
            raise ValueError("a page header has a type that it cannot have")

    def _integer(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("a page header holds a number that is too long")

    def _byte(self) -> int:
        self._steps.left -= 1
        if self._steps.left < 0:
            raise ValueError("it has too many pages")
        self._move(1)
        return self._data[self.at - 1]

    def _move(self, count: int) -> None:
        self.at += count
        if self.at > len(self._data):
            raise ValueError("a page header ends early")

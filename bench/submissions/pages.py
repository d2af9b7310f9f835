"""The uncompressed size of the pages of a parquet file, from their headers alone.

A footer's declarations need not be true: a page is decompressed to the size in its own header, whatever the footer
says, and zstd expands a few hundred kilobytes to gigabytes. So the headers are read first, page by page.

Source: parquet-format, README (column chunks are pages one after the other) and parquet.thrift (PageHeader: field 2
uncompressed_page_size, field 3 compressed_page_size); Thrift compact protocol specification.
"""

from __future__ import annotations

import pyarrow.parquet as pq

_UNPACKED, _PACKED = 2, 3  # fields of PageHeader
_DEPTH = 8  # of structs in a header; the format has 3
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
_INTEGERS = (4, 5, 6)


def unpacked_size(data: bytes, chunk: pq.ColumnChunkMetaData) -> int:
    """Uncompressed bytes of the pages of a column chunk, according to their headers.

    Raises:
        ValueError: if they are not pages, or not where the footer says.
    """
    start, dictionary = chunk.data_page_offset, chunk.dictionary_page_offset
    at = min(start, dictionary) if dictionary else start
    end = at + chunk.total_compressed_size
    if not 4 <= at <= end <= len(data):
        raise ValueError("a column lies outside the file")
    total = 0
    while at < end:
        reader = _Compact(data, at)
        fields = reader.integers()
        if not {_UNPACKED, _PACKED} <= fields.keys() or min(fields[_UNPACKED], fields[_PACKED]) < 0:
            raise ValueError("a page has no sizes")
        total += fields[_UNPACKED]
        at = reader.at + fields[_PACKED]
    if at != end:
        raise ValueError("pages end behind their column")
    return total


class _Compact:
    """The part of Thrift's compact protocol that is needed to skip a struct."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self.at = data, at

    def integers(self) -> dict[int, int]:
        """A struct's integers by field; everything else is skipped."""
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
            elif kind not in (_TRUE, _FALSE):
                self._skip(kind, depth)
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
            for _ in range(count):
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
        self._move(1)
        return self._data[self.at - 1]

    def _move(self, count: int) -> None:
        self.at += count
        if self.at > len(self._data):
            raise ValueError("a page header ends early")

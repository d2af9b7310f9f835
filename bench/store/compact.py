"""Structs of Thrift's compact protocol, as Parquet's footer and page headers are written.

Source: Thrift compact protocol specification.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

I32, I64, BINARY, LIST, STRUCT = 5, 6, 8, 9, 12
_TRUE, _FALSE, _BYTE, _DOUBLE = 1, 2, 3, 7
_BITS = {4: 16, I32: 32, I64: 64}
_STEPS = 500_000  # bytes of headers of one file that are looked at; one of 100,000 rows needs about 10,000
_DEPTH = 12  # of structs and lists; a footer has 8
_FIELDS = 1 << 15
_LONG = 0x0F  # a list of so many or more has its length behind its head

Struct = dict[int, Any]


@dataclass
class Steps:
    """The bytes of headers that may still be looked at."""

    left: int = _STEPS


class Compact:
    """A strict reader: what another reader could take for something else is refused.

    Args:
        data: The bytes.
        at: Where a struct starts; afterwards, where it ended.
        steps: Limits the work.
    """

    def __init__(self, data: bytes, at: int, steps: Steps) -> None:
        self._data, self.at, self._steps = data, at, steps

    def struct(self, depth: int = 0) -> Struct:
        """The struct's values by field: integers, truth values, bytes, lists and structs; None for other numbers.

        Raises:
            ValueError: if it ends early, is too long or too deep, or has a field twice.
        """
        found: Struct = {}
        field = 0
        while (head := self._byte()) != 0:
            step, kind = head >> 4, head & 0x0F
            field = field + step if step else self._integer(4)
            if field in found or not 0 <= field < _FIELDS:
                raise ValueError("a header has a field twice, or one that it cannot have")
            found[field] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind, depth + 1)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if depth > _DEPTH:
            raise ValueError("a header is nested too deep")
        if kind in _BITS:
            return self._integer(kind)
        if kind == BINARY:
            return self._take(self._varint())
        if kind == STRUCT:
            return self.struct(depth)
        if kind == LIST:
            head = self._byte()
            count = self._varint() if head >> 4 == _LONG else head >> 4
            return [self._entry(head & 0x0F, depth + 1) for _ in range(count)]
        if kind not in (_BYTE, _DOUBLE):
            raise ValueError("a header has a type that it cannot have")
        self._take(1 if kind == _BYTE else 8)
        return None

    def _entry(self, kind: int, depth: int) -> Any:
        return self._byte() == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind, depth)

    def _integer(self, kind: int) -> int:
        value = self._varint()
        value = value >> 1 ^ -(value & 1)
        if not -1 << _BITS[kind] - 1 <= value < 1 << _BITS[kind] - 1:
            raise ValueError("a header holds a number that is too long")
        return value

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("a header holds a number that is too long")

    def _byte(self) -> int:
        self._steps.left -= 1
        if self._steps.left < 0:
            raise ValueError("it has too many pages")
        return self._take(1)[0]

    def _take(self, count: int) -> bytes:
        start, self.at = self.at, self.at + count
        if self.at > len(self._data):
            raise ValueError("a header ends early")
        return self._data[start : self.at]


def packed(fields: dict[int, tuple[int, Any]]) -> bytes:
    """A struct's bytes.

    Args:
        fields: Kind and value by field, in ascending order; a struct's value is its bytes, a list's the kind of its
            entries and their values.
    """
    out, last = b"", 0
    for field, (kind, value) in fields.items():
        out += bytes([field - last << 4 | kind]) + _packed(kind, value)
        last = field
    return out + b"\0"


def _packed(kind: int, value: Any) -> bytes:
    if kind in _BITS:
        return _number(value << 1 if value >= 0 else ~value << 1 | 1)
    if kind == BINARY:
        return _number(len(value)) + bytes(value)
    if kind == LIST:
        entry, values = value
        return bytes([_LONG << 4 | entry]) + _number(len(values)) + b"".join(_packed(entry, v) for v in values)
    return bytes(value)


def _number(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])

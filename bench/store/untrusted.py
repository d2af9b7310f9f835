"""Untrusted files: read with a size limit, parsed strictly, and free of harmful text."""

from __future__ import annotations

import json
import math
import os
import re
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from bench.core.errors import CorruptArtifactError
from bench.core.frozen import Sealed

Document = TypeVar("Document", bound=BaseModel)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
RUN_ID = re.compile(r"[0-9a-f]{16}")

# Our own records have a nesting depth of 7 and 900 marks of structure; their longest text has 279 characters.
_DEPTH = 32
_NODES = 20_000
_STRUCTURE = (b",", b"[", b"{", b":")  # every value and key of JSON text comes after one of them
_LONGEST = 10_000
_NUMBER = 400  # characters of a number; the shortest text of a float has at most 25
_WHOLE = 2**63  # exclusive bound of integers
_SHOWN = 160  # characters of untrusted text in an error
# Control characters, invisible characters and marks of direction (Unicode TR 9), separators, surrogates, private use.
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"  # part of the spelling of names in some scripts
_STACKED = 4  # combining marks on one character; more cover the lines above and below
_MARKUP = re.compile(r"<[A-Za-z/!?]|&#|&[A-Za-z]+;")
# Schemes that a browser would run or show; "data: 3 images are missing" is a sentence, "data:text/html" is not.
_SCHEME = re.compile(r"(?:java|vb|live)script\s*:|data:(?:[\w.+-]+/[\w.+-]|[;,])", re.IGNORECASE)


class RefusedError(CorruptArtifactError):
    """Refused input, with the invalid field.

    Attributes:
        field: Its location, such as ``metrics.robust_accuracy`` or ``verdicts.parquet: label``.
        text: What is wrong with it, in one line.
    """

    def __init__(self, field: str, text: str) -> None:
        self.field, self.text = tame(field), tame(text, 400)
        super().__init__(f"{self.field}: {self.text}")


def tame(value: object, most: int = _SHOWN) -> str:
    """Untrusted text for an error line: only printable characters, and shortened."""
    text = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in str(value)[: most + 1])
    return text if len(text) <= most else f"{text[:most]}..."


def read_capped(path: Path, most: int) -> bytes:
    """All bytes of a regular file of at most ``most`` bytes; the file's name is the field of an error.

    Raises:
        RefusedError: if it is missing, a link, not a regular file, or too large.
    """
    try:
        file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK))  # noqa: SIM115 (closed below)
    except FileNotFoundError:
        raise RefusedError(path.name, "the file is missing") from None
    except OSError:
        raise RefusedError(path.name, "cannot be opened, is a link or a folder; expected a regular file") from None
    with file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise RefusedError(path.name, "is not a regular file")
        if about.st_size > most:
            raise RefusedError(path.name, f"has {about.st_size} bytes; expected at most {most}")
        data = file.read(most + 1)
    if len(data) > most:
        raise RefusedError(path.name, f"has more than {most} bytes")
    return data


def parse_json(data: bytes, field: str, *, prefix: str = "", nodes: int = _NODES) -> Any:
    """Plain data of JSON text: no duplicate keys, finite numbers below 2**63, no negative zero, at most 32 levels.

    Values are counted before any is made: a few bytes of text cost a hundred times as much memory.

    Args:
        data: The text.
        field: The field of an error that concerns the whole text.
        prefix: Prefix of the names of the fields inside.
        nodes: Most values and keys; marks of structure within texts count as well.

    Raises:
        RefusedError: if it is anything else.
    """
    if sum(map(data.count, _STRUCTURE)) > nodes:
        raise RefusedError(field, f"holds more than {nodes} values")

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        out = dict(items)
        if len(out) != len(items):
            seen: set[str] = set()
            twice = next(name for name, _ in items if name in seen or seen.add(name))  # type: ignore[func-returns-value]
            raise RefusedError(field, f"has the key {tame(twice, 60)!r} twice")
        return out

    def whole(text: str) -> float:
        return int(text) if len(text) < 32 else math.inf  # int() of a million digits is very slow

    def real(text: str) -> float:
        return float(text) if len(text) < _NUMBER else math.inf

    try:
        found = json.loads(data.decode(), object_pairs_hook=pairs, parse_int=whole, parse_float=real)
    except RecursionError:
        raise RefusedError(field, f"is nested deeper than {_DEPTH} levels") from None
    except ValueError as error:
        raise RefusedError(field, f"is not JSON: {error}") from None
    for value, depth, path in _walk(found):
        if depth > _DEPTH:
            raise RefusedError(field, f"is nested deeper than {_DEPTH} levels")
        if isinstance(value, int | float) and not abs(value) < _WHOLE:  # NaN compares as false
            raise RefusedError(prefix + _dotted(path), f"is {value:g}; expected a finite number below 2**63")
        if isinstance(value, float) and value == 0 and math.copysign(1, value) < 0:
            raise RefusedError(prefix + _dotted(path), "is -0; expected 0")
    return found


def parse_document(data: bytes, kind: type[Document], name: str, *, prefix: str = "", nodes: int = _NODES) -> Document:
    """JSON text as a validated document without harmful text, written as this program writes it.

    A number as text, a text as number, or true as 1 is refused: it would be another document with the same content.

    Args:
        data: The file's bytes.
        kind: The model.
        name: Name of the file, the field of an error that concerns the whole file.
        prefix: Prefix of the names of the fields inside.
        nodes: Most values and keys.

    Raises:
        RefusedError: if it is invalid; the field is named.
    """
    plain = parse_json(data, name, prefix=prefix, nodes=nodes)
    check_texts(plain, prefix)
    try:
        document = kind.model_validate_json(data)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = [str(part) for part in problem["loc"]]
        text = problem["msg"].removeprefix("Value error, ")
        first = text.partition(" ")[0]
        got = tame(_at(plain, problem["loc"]), 60)
        if problem["type"] == "value_error" and first in kind.model_fields and not where:
            where = [first]  # the subject of a validator of the whole document
        raise RefusedError(f"{prefix}{'.'.join(where) or name}", f"{text} (got {got!r})") from None
    if isinstance(document, Sealed):
        plain.pop("sha256", None)  # of the file, not of the data
    check_spelling(plain, document.model_dump(mode="json"), prefix)
    return document


def _at(data: Any, where: Sequence[int | str]) -> Any:
    """The innermost value on a path that leads somewhere."""
    for part in where:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            break
    return data


def check_spelling(said: Any, meant: Any, prefix: str = "", path: Any = None) -> None:
    """Compare plain data with what this program would write; what it leaves out has its default.

    Raises:
        RefusedError: for the first value that is written in another way.
    """
    if isinstance(said, dict) and isinstance(meant, dict):
        for name in said:
            check_spelling(said[name], meant.get(name), prefix, (path, name))
    elif isinstance(said, list) and isinstance(meant, list) and len(said) == len(meant):
        for at, (one, other) in enumerate(zip(said, meant, strict=True)):
            check_spelling(one, other, prefix, (path, at))
    elif said != meant or (type(said) is not type(meant) and {type(said), type(meant)} != {int, float}):
        raise RefusedError(
            prefix + _dotted(path),
            f"is {tame(said, 60)!r} as {type(said).__name__}; expected {tame(meant, 60)!r} as {type(meant).__name__}",
        )


def check_texts(data: Any, prefix: str = "") -> None:
    """Check every text in plain data, including keys.

    Raises:
        RefusedError: for control characters, markup, a URL that runs something, or more than 10,000 characters.
    """
    for value, _, path in _walk(data):
        if isinstance(value, str) and (wrong := harm(value)):
            raise RefusedError(prefix + _dotted(path), wrong)


def harm(text: str) -> str | None:
    """What is wrong with a text, None if nothing is."""
    if len(text) > _LONGEST:
        return f"has {len(text)} characters; expected at most {_LONGEST}"
    if not text.isprintable() and any(unicodedata.category(c) in _HIDDEN and c not in _JOINERS for c in text):
        return f"contains a control or invisible character: {tame(text, 60)!r}"
    if not text.isascii() and _stacked(text):  # cheap checks first: there are many texts
        return f"contains more than {_STACKED} combining marks in a row"
    if ("<" in text or "&" in text) and _MARKUP.search(text):
        return f"contains markup: {tame(text, 60)!r}"
    if ":" in text and _SCHEME.search(text):
        return f"contains a URL that runs or embeds something: {tame(text, 60)!r}"
    return None


def _stacked(text: str) -> bool:
    run = 0
    for character in text:
        run = run + 1 if unicodedata.combining(character) else 0
        if run > _STACKED:
            return True
    return False


def check_name(value: str | None, field: str) -> None:
    """Check the name of a plug-in, profile, data set or key.

    Raises:
        RefusedError: if it has characters other than letters, digits, ``.``, ``_``, ``+``, ``-``.
    """
    if value is not None and (not NAME.fullmatch(value) or ".." in value):
        raise RefusedError(field, f"is {tame(value, 60)!r}; expected a name of letters, digits, '.', '_', '+', '-'")


def _dotted(path: Any) -> str:
    parts: list[str] = []
    while path is not None:
        path, name = path
        parts.append(str(name))
    return ".".join(reversed(parts)) or "value"


def _walk(data: Any) -> Iterator[tuple[Any, int, Any]]:
    """Every value and key with its depth and a linked path; iterative, so that the depth is not limited."""
    left: list[tuple[Any, int, Any]] = [(data, 0, None)]
    while left:
        value, depth, path = left.pop()
        yield value, depth, path
        if depth > _DEPTH:
            continue
        if isinstance(value, dict):
            for name, inner in value.items():
                yield name, depth, (path, "key")
                left.append((inner, depth + 1, (path, name)))
        elif isinstance(value, list):
            left.extend((inner, depth + 1, (path, at)) for at, inner in enumerate(value))

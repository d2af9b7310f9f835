"""JSON documents: validated when written and when read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from bench.core.errors import CorruptArtifactError
from bench.core.frozen import Sealed
from bench.core.profile import first_problem
from bench.store.elsewhere import keep
from bench.store.seals import BLANK, FIELD, document_damage, seal_document

# Bytes of paths that are not UTF-8, as Python holds them; documents show them as \xff.
_NO_TEXT = re.compile("[\ud800-\udfff]")

Document = TypeVar("Document", bound=BaseModel)


def write_document(path: Path, document: BaseModel) -> Path:
    """Write ``document`` atomically, with a digest of the file in it if it is ``Sealed``, and return its path."""
    data = _file(document)
    type(document).model_validate_json(data)
    keep(path, data)
    return path


def document_line(document: BaseModel) -> bytes:
    """``document`` as JSON in one line, without white space, with a newline at the end."""
    data = json.loads(_file(document))
    return (json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False) + "\n").encode()


def document_text(line: bytes) -> bytes:
    """Convert a one-line document to the bytes of the file that :func:`write_document` writes."""
    return _text(json.loads(line))


def parse_line(line: bytes, kind: type[Document], name: str) -> Document:
    """Validate a one-line document; ``name`` is its name in errors.

    Raises:
        CorruptArtifactError: if it is invalid; the field is named.
    """
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        raise CorruptArtifactError(f"{name}: {first_problem(error)}") from None


def parse_file(data: bytes, kind: type[Document], name: str) -> Document:
    """Validate the bytes of a document's file; ``name`` is its name in errors.

    Raises:
        CorruptArtifactError: if it is invalid, with the field; or if it is damaged.
    """
    document = parse_line(data, kind, name)
    if damage := document_damage(data):
        raise CorruptArtifactError(f"{name} is damaged: {damage}; restore it from a copy, or make it again")
    return document


def read_document(path: Path, kind: type[Document], name: str, *, of: str | None = None) -> Document:
    """Read and validate a document.

    Args:
        path: Its file.
        kind: Its class.
        name: Its name in errors.
        of: The field that is the name of its folder, if there is one.

    Raises:
        CorruptArtifactError: if it is invalid; the field is named. Or if it is damaged, or in another folder.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CorruptArtifactError(f"{name} {path} cannot be read: {error.strerror}") from None
    document = parse_file(data, kind, f"{name} {path}")
    if of is not None and (said := getattr(document, of)) != path.parent.name:
        raise CorruptArtifactError(f"{name} {path} is that of {said}; expected {path.parent.name}, as its folder")
    return document


def _file(document: BaseModel) -> bytes:
    data = document.model_dump(mode="json")
    return seal_document(_text({**data, FIELD: BLANK} if isinstance(document, Sealed) else data))


def _text(data: Any) -> bytes:
    text = json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    return _NO_TEXT.sub(lambda byte: f"\\\\x{ord(byte[0]) & 0xFF:02x}", text).encode()

"""JSON documents: validated when written and when read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from bench.core.errors import CorruptArtifactError
from bench.core.profile import first_problem
from bench.store.files import write_whole

Document = TypeVar("Document", bound=BaseModel)


def write_document(path: Path, document: BaseModel) -> Path:
    """Write ``document`` atomically and return its path."""
    text = json.dumps(document.model_dump(mode="json"), indent=2, allow_nan=False, ensure_ascii=False)
    type(document).model_validate_json(text)
    write_whole(path, (text + "\n").encode())
    return path


def document_line(document: BaseModel) -> bytes:
    """``document`` as JSON in one line, without white space, with a newline at the end."""
    text = json.dumps(document.model_dump(mode="json"), separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return (text + "\n").encode()


def document_text(line: bytes) -> bytes:
    """Convert a one-line document to the bytes of the file that :func:`write_document` writes."""
    return (json.dumps(json.loads(line), indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode()


def parse_line(line: bytes, kind: type[Document], name: str) -> Document:
    """Validate a one-line document; ``name`` is its name in errors.

    Raises:
        CorruptArtifactError: if it is invalid; the field is named.
    """
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        raise CorruptArtifactError(f"{name}: {first_problem(error)}") from None


def read_document(path: Path, kind: type[Document], name: str) -> Document:
    """Read and validate a document; ``name`` is its name in errors.

    Raises:
        CorruptArtifactError: if it is invalid; the field is named.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CorruptArtifactError(f"{name} {path} cannot be read: {error.strerror}") from None
    return parse_line(data, kind, f"{name} {path}")

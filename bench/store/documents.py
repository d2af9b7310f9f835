"""A record as JSON in a file: validated when it is written and when it is read."""

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
    """Write ``document`` whole; its path."""
    text = json.dumps(document.model_dump(mode="json"), indent=2, allow_nan=False, ensure_ascii=False)
    type(document).model_validate_json(text)
    write_whole(path, (text + "\n").encode())
    return path


def read_document(path: Path, kind: type[Document], name: str) -> Document:
    """Read and validate a document; ``name`` is what to call it in an error.

    Raises:
        CorruptArtifactError: it is not one; the field is named.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise CorruptArtifactError(f"{name} {path}: {first_problem(error)}") from None
    except OSError as error:
        raise CorruptArtifactError(f"{name} {path} cannot be read: {error.strerror}") from None

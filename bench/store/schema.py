"""The record's JSON schema: `python -m bench.store.schema FILE` writes it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bench.store.files import write_whole
from bench.store.record import Record


def schema_text() -> str:
    """The schema as JSON text."""
    return json.dumps(Record.model_json_schema(), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    write_whole(Path(sys.argv[1]), schema_text().encode())

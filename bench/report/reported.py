"""Published figures, as data in the package."""

from __future__ import annotations

import csv
from importlib import resources


def reported(name: str) -> list[dict[str, str]]:
    """The rows of ``data/NAME.csv``; empty cells are empty strings."""
    text = (resources.files("bench") / "report" / "data" / f"{name}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))

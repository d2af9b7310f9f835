"""Runs as YAML: one run in a file, or a suite of rows and columns."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from bench.core.errors import InputError
from bench.core.names import suggestion
from bench.core.profile import first_problem
from bench.engine.resolve import Request

_SUITE = {"suite", "summary", "common", "rows", "columns", "skip"}
# Flags of `bench run` that say where and with what, not what is asked.
_MEANS = {"data", "offline", "workers", "train", "results", "device", "backend", "rebuild", "json", "keys"}


@dataclass(frozen=True)
class Run:
    """One run of a suite: the row and column of the table that it fills, and what it asks."""

    row: str
    column: str
    request: Request


def load_suite(path: Path) -> list[Run]:
    """The runs of a suite, or the one run of a file of `bench run --config`.

    A suite names ``rows`` (a file of flags for each, beside the suite's) and ``columns`` (flags that are added to
    them); ``common`` flags hold for all, ``skip`` lists the columns that a row does not have.

    Raises:
        InputError: a file that is missing, no mapping, or sets an unknown flag.
    """
    data = _mapping(path)
    if "suite" not in data:
        return [Run(path.stem, "", make_request(data, path))]
    if unknown := sorted(set(data) - _SUITE):
        raise InputError(f"suite {path} sets {unknown[0]!r}{suggestion(unknown[0], _SUITE)}")
    columns, skip = data.get("columns") or {"": {}}, data.get("skip") or {}
    runs = []
    for row, file in (data.get("rows") or {}).items():
        flags = _mapping(path.parent / str(file))
        for column, more in columns.items():
            if column not in (skip.get(row) or []):
                merged = _merged(_merged(flags, data.get("common") or {}), more or {})
                runs.append(Run(row, column, make_request(merged, path)))
    if not runs:
        raise InputError(f"suite {path} has no runs; expected rows, and columns that they do not all skip")
    return runs


def make_request(flags: dict[str, Any], path: Path) -> Request:
    """A request from flags as `bench run --config` takes them.

    Raises:
        InputError: a flag is unknown, missing or has a value that it cannot take.
    """
    names = {f.name for f in fields(Request)} - {"settings"} | {"set"}
    given = {str(name).replace("-", "_"): value for name, value in flags.items()}
    if unknown := sorted(set(given) - names - _MEANS):
        raise InputError(f"{path} sets {unknown[0]!r}, which is no flag{suggestion(unknown[0], names)}")
    if missing := [name for name in ("defense", "threat") if name not in given]:
        raise InputError(f"{path} does not say the {missing[0]}; expected `{missing[0]}: NAME`")
    values = {name: value for name, value in given.items() if name in names and name != "set"}
    settings = given.get("set") or {}
    if not isinstance(settings, dict):
        raise InputError(f"{path}: set holds {type(settings).__name__}; expected a mapping such as attack.steps: 10")
    words = {name: str(values[name]) for name in ("eps", "ids", "key") if values.get(name) is not None}
    try:
        return TypeAdapter(Request).validate_python({**values, **words, "settings": settings})
    except ValidationError as error:
        raise InputError(f"{path}: {first_problem(error)}") from None


def _merged(flags: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    return {**flags, **more, "set": {**(flags.get("set") or {}), **(more.get("set") or {})}}


def _mapping(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"config {str(path)!r} cannot be read: {(error.strerror or '').lower()}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"config {str(path)!r} is not readable YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise InputError(f"config {str(path)!r} holds {type(data).__name__}; expected flags, e.g. defense: key-lora")
    return data

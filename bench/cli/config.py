"""`--config FILE.yaml`: the flags of a command from a file; command line and environment override it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from bench.core.errors import InputError
from bench.core.names import suggestion
from bench.core.yaml_text import parse_yaml, read_yaml

_SETTINGS = "bench.settings"  # of the config file, in the context of a command


def load_config(context: typer.Context, path: str | None) -> str | None:
    """Use the values of a YAML file as the defaults of the command's flags.

    Raises:
        InputError: if there is no such file, it is not a mapping of plain data, or has an unknown flag.
    """
    if path is None:
        return None
    data = read_yaml(Path(path), f"config {path!r}")
    if not isinstance(data, dict):
        raise InputError(
            f"config {path!r} holds {type(data).__name__}; expected flags and values, e.g. defense: key-lora"
        )
    if "suite" in data:
        raise InputError(f"config {path!r} is a suite of runs; expected the flags of one (`bench plan` takes suites)")
    flags = {opt.removeprefix("--"): p.name or "" for p in context.command.params for opt in p.opts}
    known = {flag: name for flag, name in flags.items() if name not in ("config", "help")}
    given = {_flag(str(k), known, path): _plain(v) for k, v in data.items()}
    context.meta[_SETTINGS] = given.pop("settings", None) or []  # the command line may override each of them
    context.default_map = given
    return path


def merge_settings(context: typer.Context, pairs: list[str] | None) -> list[str]:
    """The config's settings, then those of command line or environment: the last one of each name counts."""
    return [*context.meta.get(_SETTINGS, []), *(pairs or [])]


def parse_settings(pairs: list[str]) -> dict[str, Any]:
    """``["attack.steps=10"]`` to ``{"attack.steps": 10}``; values are YAML.

    Raises:
        InputError: if a pair has no ``=``, or its value is not plain YAML.
    """
    out: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise InputError(f"setting {pair!r} is not SECTION.NAME=VALUE; expected e.g. attack.steps=10")
        out[name.strip()] = parse_yaml(value, f"setting {pair[:80]!r}")
    return out


def _flag(name: str, known: dict[str, str], path: str) -> str:
    if name.replace("_", "-") not in known:
        raise InputError(f"config {path!r} sets {name!r}, which is not a flag{suggestion(name, known)}")
    return known[name.replace("_", "-")]


def _plain(value: Any) -> Any:
    """YAML may hold settings as a mapping; flags are text."""
    if isinstance(value, dict):
        return [f"{name}={json.dumps(v)}" for name, v in value.items()]  # JSON is YAML
    return value if isinstance(value, (bool, list)) or value is None else str(value)

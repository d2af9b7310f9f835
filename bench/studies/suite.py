"""Runs as YAML: a single run, or a suite of rows and columns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from bench.core.errors import InputError, UnknownNameError
from bench.core.names import suggestion
from bench.core.registry import registry
from bench.core.yaml_text import read_yaml
from bench.engine.request import Request, Resources, make_request, names_of

_SUITE = {"suite", "summary", "common", "rows", "stands_for", "columns", "skip"}
_PARTS: dict[str, tuple[type, ...]] = {
    "common": (object,), "rows": (str,), "columns": (dict, type(None)), "skip": (list, type(None)),
    "stands_for": (str,),
}  # fmt: skip
# Flags of `bench run` that set the environment, not the run itself.
_NOT_ASKED = names_of(Resources) - names_of(Request) | {"json", "keys"}


@dataclass(frozen=True)
class SuiteRun:
    """One run of a suite: its row and column in the table, and its request.

    A row or column with ``keys: N`` has N runs, one for each of the maker's devices 0 to N - 1: their keys differ, the
    adversary's own models do not, so these are attacked once. ``stands_for`` is the row of the published table
    for which a small model stands; empty if the suite names none.
    """

    row: str
    column: str
    request: Request
    stands_for: str = ""


def suite_file(profile: str, name: str) -> Path:
    """The built-in suite ``configs/PROFILE/NAME.yaml``.

    Raises:
        UnknownNameError: if there is none.
    """
    package = Path(str(resources.files("bench")))
    folder = next(p for p in (package / "configs", package.parent / "configs") if p.is_dir())
    path = folder / profile / f"{name}.yaml"
    if not path.is_file():
        known = sorted(p.stem for p in (folder / profile).glob("*.yaml") if "suite" in _mapping(p))
        there = known or sorted(p.name for p in folder.iterdir() if p.is_dir())
        what = f"{name!r} for profile {profile!r}" if known else f"for profile {profile!r}"
        raise UnknownNameError(f"there is no suite {what}{suggestion(name if known else profile, there)}")
    return path


def load_suite(
    path: Path, *, keys: int | None = None, limit: int | None = None, quantize: int | None = None
) -> list[SuiteRun]:
    """The runs of a suite, or the one run of a file of `bench run --config`.

    A suite has ``rows`` (a file of flags for each, in the suite's folder) and ``columns`` (flags added to them);
    ``common`` flags apply to all, ``skip`` lists the columns that a row does not have, ``stands_for`` names the row of
    the published table for which a row stands.

    Args:
        path: The file.
        keys: Devices of a keyed row, at most the column's number; None for the number in the file.
        limit: Number of images of every run, from the first; None for the number in the file.
        quantize: Bits of every run; None for what the file says.

    Raises:
        InputError: if a file is missing, is not a mapping, or sets an unknown flag.
    """
    data = _mapping(path)
    if "suite" not in data:
        return [SuiteRun(path.stem, "", _request(data, path))]
    if unknown := sorted(map(str, set(data) - _SUITE)):
        raise InputError(f"suite {path} sets {unknown[0]!r}{suggestion(unknown[0], _SUITE)}")
    _check_suite(data, path)
    columns, skip = data.get("columns") or {"": {}}, data.get("skip") or {}
    rows, stands_for = data.get("rows") or {}, data.get("stands_for") or {}
    for name, given in (("skip", skip), ("stands_for", stands_for)):
        if unknown := sorted(map(str, set(given) - set(rows))):
            raise InputError(f"suite {path}: {name} names row {unknown[0]!r}{suggestion(unknown[0], rows)}")
    runs = []
    for row, file in rows.items():
        flags = _mapping(path.parent / str(file))
        for column, more in columns.items():
            if column not in (skip.get(row) or []):
                merged = _merged(_merged(flags, data.get("common") or {}), more or {})
                request = _request(merged, path)
                if request.estimate is not None:
                    raise InputError(f"suite {path}: row {row} sets estimate; expected full runs, which tables compare")
                request = replace(request, limit=limit or request.limit, quantize=quantize or request.quantize)
                first = SuiteRun(row, column, request, str(stands_for.get(row, "")))
                runs += _devices(first, merged, keys, path)
    if not runs:
        raise InputError(f"suite {path} has no runs; expected rows, and columns that they do not all skip")
    return runs


def _check_suite(data: dict[str, Any], path: Path) -> None:
    """Check the kinds of a suite's parts; an empty part counts as none."""
    for name, inner in _PARTS.items():
        part = data.get(name)
        if not isinstance(part or {}, dict):
            raise InputError(f"suite {path}: {name} holds {type(part).__name__}; expected a mapping")
        for key, value in (part or {}).items():
            if not isinstance(value, inner):
                kinds = " or ".join(kind.__name__ for kind in inner if kind is not type(None))
                raise InputError(f"suite {path}: {name}.{key} holds {type(value).__name__}; expected {kinds}")


def _devices(run: SuiteRun, flags: dict[str, Any], keys: int | None, path: Path) -> list[SuiteRun]:
    """One run per device of a keyed defense."""
    asked = flags.get("keys", 1)
    if not isinstance(asked, int) or asked < 1:
        raise InputError(f"{path}: {run.row} {run.column} sets keys to {asked!r}; expected 1 or more")
    request = run.request
    keyed = registry("defenses").load(request.defense).keyed
    count = min(asked, keys) if keys and asked > 1 else asked
    first = request.judge_device
    devices = range(first, first + (count if keyed else 1))
    return [replace(run, request=replace(request, judge_device=device)) for device in devices]


def _request(flags: dict[str, Any], path: Path) -> Request:
    """A request from flags, in the format of `bench run --config`.

    Raises:
        InputError: if a flag is unknown, missing or has an invalid value.
    """
    names = names_of(Request) - {"settings"} | {"set"}
    given = {str(name).replace("-", "_"): value for name, value in flags.items()}
    if unknown := sorted(set(given) - names - _NOT_ASKED):
        raise InputError(f"{path} sets {unknown[0]!r}, which is not a flag{suggestion(unknown[0], names)}")
    if missing := [name for name in ("defense", "threat") if name not in given]:
        raise InputError(f"{path} does not set the {missing[0]}; expected `{missing[0]}: NAME`")
    values = {name: value for name, value in given.items() if name in names and name != "set"}
    settings = given.get("set") or {}
    if not isinstance(settings, dict):
        raise InputError(f"{path}: set holds {type(settings).__name__}; expected a mapping such as attack.steps: 10")
    try:
        return make_request({**values, "settings": settings})
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _merged(flags: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    return {**flags, **more, "set": {**(flags.get("set") or {}), **(more.get("set") or {})}}


def _mapping(path: Path) -> dict[str, Any]:
    data = read_yaml(path, f"config {str(path)!r}")
    if not isinstance(data, dict):
        raise InputError(f"config {str(path)!r} holds {type(data).__name__}; expected flags, e.g. defense: key-lora")
    return data

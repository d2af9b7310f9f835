"""`bench cache`: what BENCH_HOME holds besides keys, and the removal of what is not used."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.takes import JsonFlag, takes
from bench.core.flags import Flag

if TYPE_CHECKING:
    from bench.store.caches import Cached

app = typer.Typer(no_args_is_help=True, help="List and clear models and adversarial images; keys are never touched.")

_SIZES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_AGES = {"h": 3600, "d": 86400, "w": 7 * 86400}
_BIGGEST = 10


@app.command("list")
@takes()
def show(as_json: JsonFlag = False) -> None:
    """Number, size, first and last use of what is kept, by kind, and the biggest entries."""
    from bench.store.caches import entries
    from bench.store.home import Home

    home = Home.default()
    found = entries(home)
    kinds: dict[str, dict[str, Any]] = {
        kind: _summary([e for e in found if e.kind == kind]) for kind in dict.fromkeys(e.kind for e in found)
    }
    biggest = sorted(found, key=lambda e: -e.size)[:_BIGGEST]
    unknown = [e for e in found if e.kind == "unknown"]
    if as_json:
        shown = {"biggest": [_data(e) for e in biggest], "unknown": [_data(e) for e in unknown]}
        print(json.dumps({"home": str(home.root), "kinds": kinds, **shown}, indent=2))
        return
    _print_kinds(kinds)
    for title, some in (("biggest", biggest), ("unknown, never removed", unknown)):
        for entry in some:
            print(f"{title}: {_line(entry)}")


@app.command()
@takes(examples=("bench cache gc --most 50GB", "bench cache gc --older 30d --kind adversarial --yes"))
def gc(
    most: Annotated[
        str | None, Flag("Size that may stay, e.g. 50GB; what was not used for longest goes.", env="")
    ] = None,
    older: Annotated[str | None, Flag("Remove what was not used for this long, e.g. 30d, 12h.", env="")] = None,
    kind: Annotated[
        str | None, Flag("Only adversarial, models, training or indexes. Default: all of them.", env="")
    ] = None,
    yes: Annotated[bool, Flag("Remove; without it, only what would go is shown.", env="", switch=True)] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show what goes under a bound, least recently used first, and remove it with --yes.

    What a running command holds stays. Everything removed is made again when it is needed.
    """
    from bench.store.caches import collected, entries, remove, sweep_all
    from bench.store.home import Home

    home = Home.default()
    bound = _amount(most, _SIZES, "--most", "a size such as 50GB")
    age = _amount(older, _AGES, "--older", "an age such as 30d")
    if yes:
        sweep_all(home)
    gone, held = collected(entries(home), kind=kind, most=None if bound is None else int(bound), older=age,
                           going=lambda entry: not yes or remove(entry, home))  # fmt: skip
    if as_json:
        print(json.dumps({"removed": yes, "entries": [_data(e) for e in gone], "held": [_data(e) for e in held],
                          "bytes": sum(e.size for e in gone)}, indent=2))  # fmt: skip
    else:
        for entry in gone:
            print(_line(entry))
        for entry in held:
            print(f"in use, stays: {_line(entry)}")
        did = "removed" if yes else "would be removed; run again with --yes to remove them"
        print(f"{len(gone)} entries, {_size(sum(e.size for e in gone))}, {did}")


def _amount(text: str | None, units: dict[str, int], flag: str, expected: str) -> float | None:
    from bench.core.errors import InputError

    if text is None:
        return None
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([A-Za-z]+)", text.strip(), re.ASCII)
    scale = {name.lower(): size for name, size in units.items()}.get(found[2].lower()) if found else None
    if found is None or scale is None:
        raise InputError(f"{flag} is {text[:40]!r}; expected {expected}, in {', '.join(units)}")
    return float(found[1]) * scale


def _summary(some: list[Cached]) -> dict[str, Any]:
    uses = [entry.used for entry in some]
    return {
        "number": len(some),
        "bytes": sum(e.size for e in some),
        "oldest": _when(min(uses)),
        "newest": _when(max(uses)),
    }


def _print_kinds(kinds: dict[str, dict[str, Any]]) -> None:
    from rich.table import Table

    from bench.cli.console import make_console

    table = Table("kind", "number", "size", "used first", "used last")
    for kind, row in kinds.items():
        table.add_row(kind, f"{row['number']:,}", _size(row["bytes"]), row["oldest"], row["newest"])
    make_console().print(table)


def _data(entry: Cached) -> dict[str, Any]:
    return {"kind": entry.kind, "path": str(entry.path), "bytes": entry.size, "used": _when(entry.used)}


def _line(entry: Cached) -> str:
    return f"{entry.kind}  {_size(entry.size)}  {_when(entry.used)}  {entry.path}"


def _when(seconds: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _size(size: float) -> str:
    unit = next((name for name, least in reversed(_SIZES.items()) if size >= least), "B")
    return f"{size / _SIZES[unit]:.3g} {unit}"

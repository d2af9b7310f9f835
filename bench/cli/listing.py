"""`bench list`: the registered plug-ins."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.takes import JsonFlag, takes
from bench.core.names import KINDS

if TYPE_CHECKING:
    from bench.core.registry import Entry


@takes()
def show(
    kind: Annotated[str | None, typer.Argument(help=f"One of {', '.join(KINDS)}. Default: all.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List defenses, threats, attacks, transforms, datasets and backends, including those that cannot be imported."""
    from rich.markup import escape
    from rich.table import Table

    from bench.cli.console import make_console
    from bench.core.registry import registry

    entries = [entry for k in ([kind] if kind else KINDS) for entry in registry(k).describe()]
    if as_json:
        print(json.dumps([asdict(entry) for entry in entries], indent=2))
        return
    table = Table("kind", "name", "description")
    for entry in entries:
        table.add_row(entry.kind, escape(entry.name), escape(_about(entry)))
    make_console().print(table)


def _about(entry: Entry) -> str:
    if entry.error is None:
        return entry.summary
    return entry.error if entry.error.startswith("needs ") else f"cannot be imported: {entry.error}"

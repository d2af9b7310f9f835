"""`bench reproduce`: a published table, made again."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from bench.cli.options import JsonOption

NAMES = ("table2",)


def reproduce(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(NAMES)} (of arXiv 2311.16577).")],
    as_json: JsonOption = False,
) -> None:
    """Make a table of the paper again, measured beside reported; exit code 1 where they differ."""
    from rich.table import Table

    from bench.cli.console import make_console
    from bench.core.errors import UnknownNameError
    from bench.core.names import suggestion
    from bench.core.profile import load_profile
    from bench.engine.counts import weights_of
    from bench.report.table2 import Table2

    if name not in NAMES:
        raise UnknownNameError(f"unknown table {name!r}{suggestion(name, NAMES)}")
    profile = load_profile("imagenet")
    full, lora = (weights_of(defense, profile) for defense in ("key-full", "key-lora"))
    table2 = Table2(profile.base.name, full.trained, lora.trained, lora.all)
    if as_json:
        print(json.dumps({"rows": table2.rows(), "agrees": table2.agrees}, indent=2))
    else:
        table = Table(*table2.rows()[0], title="Table II: weights that are trained", title_justify="left")
        for row in table2.rows():
            table.add_row(*row.values())
        make_console().print(table)
    if not table2.agrees:
        raise typer.Exit(1)

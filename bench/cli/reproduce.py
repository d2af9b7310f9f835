"""`bench reproduce`: a published table or figure, reproduced from records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.patience import patience
from bench.cli.session import ended, working
from bench.cli.takes import JsonFlag, takes
from bench.core.flags import Flag
from bench.engine.request import LimitField, ProfileField, QuantizeField, Resources

if TYPE_CHECKING:
    from bench.report.output import Output
    from bench.studies.reproduce import Filled

SUITES = ("table1", "fig4", "cross-key", "iterations", "queries")  # made from the cells of the suite of that name
_BESIDE_THE_PAPER = ("table1", "fig4")  # they state their profile
NAMES = (*SUITES, "table2", "ladders")
SuiteField = Annotated[str | None, Flag("A suite file of your own. Default: the profile's.")]
MostKeysField = Annotated[int | None, Flag("At most this many keys of a keyed row, e.g. 1.", least=1)]


@takes(
    Resources,
    examples=("bench reproduce table1", "bench reproduce fig4 --render-only", "bench reproduce table2 --json"),
)
@patience("reading records, then drawing the table or figure")
def reproduce(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(NAMES)} (tables and figures of arXiv 2311.16577).")],
    resources: Resources,
    profile: ProfileField = "digits",
    suite: SuiteField = None,
    keys: MostKeysField = None,
    limit: LimitField = None,
    quantize: QuantizeField = None,
    render_only: Annotated[bool, Flag("Run nothing; empty cells stay empty.", "render-only", switch=True)] = False,
    out: Annotated[str, Flag("Folder of the files; they go to OUT/PROFILE.")] = "reports",
    as_json: JsonFlag = False,
) -> None:
    """Run the missing parts of a table or figure, then write it as Markdown, CSV, LaTeX, PNG and PDF.

    table2 counts weights, with exit code 1 if a figure differs from the paper's.
    """
    from bench.core.errors import UnknownNameError
    from bench.core.names import suggestion

    if name not in NAMES:
        raise UnknownNameError(f"unknown table {name!r}{suggestion(name, NAMES)}")
    if name == "table2":
        _table2(Path(out), as_json=as_json)
        return
    if name == "ladders":
        _ladders(resources.results, Path(out) / profile, profile, as_json=as_json)
        return
    from bench.store.keyring import Keyring
    from bench.studies.reproduce import fill
    from bench.studies.suite import load_suite, suite_file

    runs = load_suite(Path(suite) if suite else suite_file(profile, name), keys=keys, limit=limit, quantize=quantize)
    with working(resources) as means:
        filled = fill(runs, Keyring(means.home.keys), means, render_only=render_only)
    output = _rendered(name, filled, profile)
    _hand_over(output, Path(out) / profile, name, filled, as_json=as_json)
    ended(well=not filled.failed)


def _rendered(name: str, filled: Filled, profile: str) -> Output:
    from importlib import import_module

    function = name.replace("-", "_")
    render = getattr(import_module(f"bench.report.{function}"), function)
    output: Output = render(filled.cells, profile) if name in _BESIDE_THE_PAPER else render(filled.cells)
    return output


def _table2(out: Path, *, as_json: bool) -> None:
    from bench.core.profile import load_profile
    from bench.plan.weight_counts import weights_of
    from bench.report.table2 import Table2

    profile = load_profile("imagenet")
    full, lora = (weights_of(defense, profile) for defense in ("key-full", "key-lora"))
    table2 = Table2(profile.base.name, full.trained, lora.trained, lora.all)
    _hand_over(table2.output(), out / profile.name, "table2", None, as_json=as_json)
    if not table2.agrees:
        raise typer.Exit(1)


def _ladders(results: Path, out: Path, profile: str, *, as_json: bool) -> None:
    """One chart per ladder."""
    from bench.core.errors import InputError
    from bench.report.ladder import ladder
    from bench.store.ladders import read_ladders

    found = [record for record in read_ladders(results) if record.profile == profile]
    if not found:
        raise InputError(f"no ladder of profile {profile} in {results}; expected one: run `bench ladder --defense D`")
    for record in found:
        _hand_over(ladder(record), out, f"ladder-{record.defense.name}-{record.ladder_id}", None, as_json=as_json)


def _hand_over(output: Output, folder: Path, name: str, filled: Filled | None, *, as_json: bool) -> None:
    """Write the files and show the table."""
    from bench.report.write import write_output

    paths = write_output(output, folder, name)
    if as_json:
        about = {"rows": list(output.table.data), "notes": list(output.notes), "commands": list(output.commands),
                 "failed": filled.failed if filled else [], "files": [str(path) for path in paths]}  # fmt: skip
        print(json.dumps(about, indent=2))
        return
    from rich.table import Table

    from bench.cli.console import make_console

    console = make_console()
    for each in output.tables:
        table = Table(*each.header, title=each.title, title_justify="left", show_lines=True)
        for row in each.body:
            table.add_row(*row)
        console.print(table)
    for note in output.notes:
        console.print(f"note: {note}", markup=False)
    if filled:
        _said(output, filled, folder / f"{name}.md")
    for path in paths:
        console.print(str(path), markup=False)


def _said(output: Output, filled: Filled, path: Path) -> None:
    from bench.cli.console import make_console

    console = make_console()
    there = sum(cell.record is not None for cell in filled.cells)
    console.print(f"{there} of {len(filled.cells)} runs exist, {filled.ran} of them made now", markup=False)
    if filled.left:
        console.print(f"the others were not attempted: {filled.left}", markup=False)
    if output.commands:
        console.print(f"{len(output.commands)} commands fill the empty cells, the first of them (all in {path}):",
                      markup=False)  # fmt: skip
        console.print(output.commands[0], markup=False, soft_wrap=True)
    for text in filled.failed:
        console.print(f"failed: {text}", markup=False)

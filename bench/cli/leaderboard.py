"""`bench leaderboard`: the static site from records, and checks of submissions."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.leaderboard_check import check
from bench.cli.patience import patience
from bench.cli.takes import JsonFlag, takes
from bench.core.flags import Flag
from bench.engine.request import Resources

if TYPE_CHECKING:
    from collections.abc import Mapping

app = typer.Typer(no_args_is_help=True, help="Build the leaderboard's site, write its standings, check submissions.")
app.command("check")(check)


@app.command()
@takes(Resources, only=("results",))
@patience("checking every record and writing the site")
def build(
    resources: Resources,
    out: Annotated[str, Flag("Folder of the site.")] = "leaderboard/site",
    as_json: JsonFlag = False,
) -> None:
    """Build the leaderboard from the records in a results folder and the published figures."""
    from bench.core.errors import InputError
    from bench.report.board import make_board
    from bench.report.site.build import files
    from bench.report.site.folder import write_site
    from bench.submissions.intake import read_all

    results = resources.results
    evidence, refusals = read_all(results)
    if not results.is_dir():
        raise InputError(f"no folder {results}; expected a folder of records; give --results DIR")
    for refusal in refusals:
        print(f"bench: refused {refusal}", file=sys.stderr)
    board = make_board(evidence)
    refused = [(refusal.run, f"{refusal.field}: {refusal.text}") for refusal in refusals]
    made = files(board, refused)
    write_site(Path(out), made)
    told = _told(made, out, len(board.runs), len(board.standings), len(refused))
    print(json.dumps(told, indent=2) if as_json else _sentence(told))


@app.command()
@takes(Resources, only=("results",))
@patience("checking every published record")
def standings(
    resources: Resources,
    out: Annotated[str | None, Flag("Write to this file. Default: standard output.")] = None,
) -> None:
    """Print the standings of the published runs (RESULTS/published) and of the published figures as CSV."""
    from bench.report.board import make_board
    from bench.report.board.table import standings_csv
    from bench.store.files import write_whole
    from bench.submissions.intake import read_all

    evidence, refusals = read_all(resources.results, folders=False)
    for refusal in refusals:
        print(f"bench: refused {refusal}", file=sys.stderr)
    text = standings_csv(make_board(evidence))
    if out is None:
        sys.stdout.write(text)
    else:
        write_whole(Path(out), text.encode())
        print(f"{out}: {text.count(chr(10)) - 1} standings from {len(evidence)} published runs")


def _told(made: Mapping[str, bytes], out: str, runs: int, standings: int, refused: int) -> dict[str, object]:
    """Summary of what was written, as text or as JSON."""
    from bench.report.site.build import table_weight

    raw, packed = table_weight(made)
    return {
        "index": str(Path(out) / "index.html"),
        "runs": runs,
        "standings": standings,
        "refused": refused,
        "pages": sum(name.endswith(".html") for name in made),
        "files": len(made),
        "bytes": sum(map(len, made.values())),
        "table_bytes": raw,
        "table_bytes_gzip": packed,
    }


def _sentence(told: dict[str, object]) -> str:
    return (
        "{index}: {pages} pages from {runs} runs, {standings} standings, {refused} refused\n"
        "{files} files, {bytes:,} bytes; the table with its assets: {table_bytes:,} bytes, {table_bytes_gzip:,} gzip"
    ).format(**told)

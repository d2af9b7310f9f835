"""The command and its exit codes: 0 success, 1 a failed run, 2 bad input, 130 interrupted."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from contextlib import suppress
from typing import Annotated

import typer

from bench import __version__
from bench.cli import cache, keys, leaderboard, listing, results, worker
from bench.cli.audit import audit
from bench.cli.doctor import doctor
from bench.cli.ending import ending
from bench.cli.key_study import key_study
from bench.cli.ladder import ladder
from bench.cli.perf import perf
from bench.cli.plan import plan
from bench.cli.reproduce import reproduce
from bench.cli.run import run
from bench.cli.streams import flush_streams, open_streams
from bench.cli.train import train

app = typer.Typer(
    name="bench",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # its tracebacks show local variables, which may include a key
    context_settings={"max_content_width": 100},
    rich_markup_mode=None,  # saves a quarter of a second of imports for frames around the help
    help="Evaluate key-based adversarial defenses against a ladder of adversaries.",
)
app.command("run")(run)
app.command("ladder")(ladder)
app.command("train")(train)
app.command("reproduce")(reproduce)
app.command("plan")(plan)
app.command("audit")(audit)
app.command("key-study")(key_study)
app.command("list")(listing.show)
app.command("perf")(perf)
app.command("doctor")(doctor)
app.add_typer(worker.app, name="worker")
app.add_typer(keys.app, name="key")
app.add_typer(cache.app, name="cache")
app.add_typer(results.app, name="results")
app.add_typer(leaderboard.app, name="leaderboard")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"keybench {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option(envvar="BENCH_DEBUG", help="Show the traceback of an error.")] = False,
) -> None:
    """Evaluate key-based adversarial defenses against a ladder of adversaries."""
    if debug:
        os.environ["BENCH_DEBUG"] = "1"


def main() -> None:
    """Entry point of the command."""
    open_streams()
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch")  # from torch, about itself
    code, text, outside = 0, "", False
    try:
        code = app(prog_name="bench", standalone_mode=False) or 0
    except (typer.Abort, KeyboardInterrupt):
        code = 130
    except Exception as error:
        if os.environ.get("BENCH_DEBUG"):
            traceback.print_exc()
        found = ending(error)
        if found is None:
            raise  # a defect of this program
        (code, text), outside = found, isinstance(error, OSError)
    if why := flush_streams():
        code, text = code or 2, why if outside or not text else text
    _say(text)
    if code == 130:
        print("bench: stopped; run the same command again to resume", file=sys.stderr, flush=True)
        os._exit(code)  # threads may be running a model; shutting down the interpreter under them can abort it
    sys.exit(code)


def _say(text: str) -> None:
    with suppress(OSError):  # of standard error itself
        if text.startswith("Usage:"):  # the help, of `bench` or of a group without a command
            print(text, file=sys.stderr)
        elif text.strip():
            print(f"bench: {' '.join(text.split())}", file=sys.stderr)

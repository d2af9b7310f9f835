"""`bench results publish`: runs into a collection that can be committed."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from bench.cli.patience import patience
from bench.cli.takes import JsonFlag, takes
from bench.engine.request import Resources


@takes(Resources, only=("results",))
@patience("reading and checking the runs")
def publish(
    resources: Resources,
    runs: Annotated[
        list[str] | None, typer.Argument(help="Ids of runs, or their first digits.", show_default=False)
    ] = None,
    name: Annotated[str, typer.Option("--as", metavar="NAME", help="The collection: RESULTS/published/NAME.")] = "own",
    everything: Annotated[bool, typer.Option("--all", help="Every run of the folder.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Write runs into a few files that can be committed: RESULTS/published/NAME.

    The collection's existing runs and all run folders are kept, and every command reads both. The same runs
    give the same bytes. Damaged runs are omitted and listed, and the exit code is then 1.
    """
    from bench.core.errors import InputError
    from bench.store.publish import publish as write
    from bench.store.runs import RunStore

    if bool(runs) == everything:
        raise InputError("expected either ids of runs or --all")
    store = RunStore(resources.results)
    wanted = store.ids() if everything else [store.find(run).path.name for run in runs or []]
    done = write(store, name, wanted)
    for text in done.left_out:
        print(f"bench: left out: {text}", file=sys.stderr)
    if as_json:
        about = {"folder": str(done.folder), "runs": len(done.runs), "added": done.added, "left_out": done.left_out,
                 "bytes": done.size}  # fmt: skip
        print(json.dumps(about, indent=2))
    else:
        print(f"{done.folder}: {len(done.runs)} runs, {len(done.added)} of them new; {done.size:,} bytes")
    if done.left_out:
        raise typer.Exit(1)

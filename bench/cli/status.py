"""`bench results status`: how far a run is, from its files alone."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from bench.cli.takes import JsonFlag, RunArgument, takes
from bench.core.flags import Flag
from bench.engine.request import Resources

if TYPE_CHECKING:
    from bench.store.progress import RunProgress

_EVERY = 2.0  # seconds between two looks


@takes(Resources, only=("results", "stale"), examples=("bench results status 3f2a --watch",))
def status(
    run: RunArgument,
    resources: Resources,
    watch: Annotated[bool, Flag("Show it again every two seconds until the run is complete.", switch=True)] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show how far a run is: shards and images, rate and time left, and which worker makes which shard."""
    from bench.core.errors import InputError
    from bench.store.claims import STALE
    from bench.store.progress import progress_of, watch_workers
    from bench.store.runs import RunStore

    folder = RunStore(resources.results).begun(run)
    claims = folder.claims(stale=STALE if resources.stale is None else resources.stale)
    while True:
        if not watch:
            watch_workers(claims)
        found = progress_of(folder, claims, rows=True)
        if found is None and not folder.driver:
            raise InputError(f"run {folder.path.name} has not been begun; expected one that `bench run` or "
                             "`bench worker` makes")  # fmt: skip
        if found is None:
            print(f"run {folder.path.name}: {folder.driver} prepares its models", flush=True)
        elif as_json:
            print(json.dumps(asdict(found), indent=None if watch else 2), flush=True)
        else:
            _print(found)
        if not watch or folder.complete:
            return
        time.sleep(_EVERY)


def _print(found: RunProgress) -> None:
    from rich.table import Table

    from bench.cli.console import make_console

    console = make_console()
    if found.complete:
        console.print(f"run {found.run_id} is complete: {found.images} images", markup=False)
        return
    console.print(f"run {found.run_id}, {found.driver or 'no driver'}", markup=False)
    console.print(f"shards: {found.done} of {found.shards} done, {len(found.running)} running, {len(found.failed)} "
                  f"failed, {found.left} left", markup=False)  # fmt: skip
    rate = "" if found.images_per_second is None else f", {found.images_per_second:.3g} images/s"
    left = "" if found.seconds_left is None else f", {found.seconds_left:.0f} s left"
    console.print(f"images: {found.images_done} of {found.images} done{rate}{left}", markup=False)
    if found.running:
        table = Table("shard", "worker", "since (its clock)", "", title_justify="left")
        for one in found.running:
            doing = "lost" if one.state == "lost" else "prepares its models" if one.preparing else "makes it"
            table.add_row(str(one.shard), f"{one.pid} on {one.host}", one.since, doing)
        console.print(table)
    for shard, why in found.failed.items():
        console.print(f"shard {shard}: {why}", markup=False)
    sys.stdout.flush()

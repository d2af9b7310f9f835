"""`bench results`: records that are there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.compare import compare
from bench.cli.gallery import gallery
from bench.cli.options import (
    DataOption,
    DeviceOption,
    JsonOption,
    OfflineOption,
    RebuildOption,
    ResultsOption,
    WeightsOption,
)
from bench.cli.pack import pack
from bench.cli.publish import publish
from bench.cli.results_list import show_all

app = typer.Typer(no_args_is_help=True, help="List, show, compare, verify, picture, pack and publish records.")
app.command("list")(show_all)
app.command("compare")(compare)
app.command("gallery")(gallery)
app.command("pack")(pack)
app.command("publish")(publish)
RunArgument = Annotated[str, typer.Argument(help="Id of the run, or its first digits.")]


@app.command()
def show(run: RunArgument, results: ResultsOption = "results", as_json: JsonOption = False) -> None:
    """One record."""
    from bench.cli.show import print_record
    from bench.store.runs import RunStore

    store = RunStore(Path(results))
    print_record(store.find(run).summary(), store, as_json=as_json)


@app.command()
def verify(
    run: RunArgument,
    results: ResultsOption = "results",
    device: DeviceOption = "cpu",
    data: DataOption = None,
    weights: WeightsOption = None,
    offline: OfflineOption = False,
    rebuild: RebuildOption = False,
    as_json: JsonOption = False,
) -> None:
    """Judge the kept adversarial images of a run again from scratch and compare every verdict.

    Where all of them stand, `confirmation.json` beside the record says so, and the leaderboard shows it.
    """
    from bench.cli.means import make_means
    from bench.cli.progress import listener
    from bench.engine.resolve import defender_key
    from bench.engine.verify import verify as check
    from bench.store.keyring import Keyring
    from bench.submissions.check import confirm

    with listener() as progress:
        means = make_means(results, device, progress, data=data, weights=weights, offline=offline, rebuild=rebuild)
        folder = means.results.find(run)
        record = folder.read().record
        found = check(folder, defender_key(record.spec, Keyring(means.home.keys)), means)
    confirm(folder, found)
    if as_json:
        print(json.dumps({"images": found.images, "disagreements": found.disagreements}, indent=2))
    else:
        for text in found.disagreements:
            print(text)
        agree = "differs" if found.disagreements else "every verdict stands"
        print(f"run {record.run_id}: {found.images} images judged again, {agree}")
    if found.disagreements:
        raise typer.Exit(1)

"""`bench results`: the existing records."""

from __future__ import annotations

import json

import typer

from bench.cli.compare import compare
from bench.cli.gallery import gallery
from bench.cli.pack import pack
from bench.cli.patience import patience
from bench.cli.publish import publish
from bench.cli.results_list import show_all
from bench.cli.session import working
from bench.cli.status import status
from bench.cli.takes import JsonFlag, RunArgument, takes
from bench.engine.request import Resources

app = typer.Typer(no_args_is_help=True, help="List, show, watch, compare, verify, draw, pack and publish records.")
app.command("list")(show_all)
app.command("compare")(compare)
app.command("gallery")(gallery)
app.command("pack")(pack)
app.command("publish")(publish)
app.command("status")(status)


@app.command()
@takes(Resources, only=("results",))
def show(run: RunArgument, resources: Resources, as_json: JsonFlag = False) -> None:
    """Show one record."""
    from bench.cli.show import print_record
    from bench.store.runs import RunStore

    store = RunStore(resources.results)
    print_record(store.find(run).summary(), store, as_json=as_json)


@app.command()
@takes(Resources, without=("readers", "workers", "train", "backend", "address"))
@patience("loading the models of the run")
def verify(run: RunArgument, resources: Resources, as_json: JsonFlag = False) -> None:
    """Judge the stored adversarial images of a run again from scratch and compare every verdict.

    If all agree, `confirmation.json` is written next to the record, and the leaderboard shows it.
    """
    from bench.engine.resolve import defender_key
    from bench.engine.verify import verify as check
    from bench.store.keyring import Keyring
    from bench.submissions.check import confirm

    with working(resources) as means:
        folder = means.results.find(run)
        record = folder.read().record
        found = check(folder, defender_key(record.spec, Keyring(means.home.keys)), means)
    confirm(folder, found)
    if as_json:
        print(json.dumps({"images": found.images, "disagreements": found.disagreements}, indent=2))
    else:
        for text in found.disagreements:
            print(text)
        agree = "differs" if found.disagreements else "every verdict confirmed"
        print(f"run {record.run_id}: {found.images} images judged again, {agree}")
    if found.disagreements:
        raise typer.Exit(1)

"""`bench leaderboard check`: checks of submitted archives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.patience import patience
from bench.cli.session import working
from bench.cli.takes import JsonFlag, takes
from bench.core.flags import Flag
from bench.engine.request import Resources

if TYPE_CHECKING:
    from bench.submissions.check import Checked


@takes(Resources, only=("device", "data", "weights", "offline", "train"))
@patience("reading the archives and loading models")
def check(
    archives: Annotated[list[Path], typer.Argument(help="Archives of `bench results pack`.", show_default=False)],
    resources: Resources,
    into: Annotated[str | None, Flag("Copy accepted runs into this folder of records.", env="")] = None,
    no_rejudge: Annotated[
        bool, Flag("Load no model and judge nothing again.", "no-rejudge", env="", switch=True)
    ] = False,
    train_limit: Annotated[float, Flag("With --train: seconds of training for each archive.", env="", least=1)] = 600.0,
    as_json: JsonFlag = False,
) -> None:
    """Check archives: their content, every figure, and the verdicts, audit and an attack if the model is stored here.

    Without --train no model is trained and nothing is downloaded. Exit code 0 if all are accepted, 1 if a verdict or a
    check of the audit disagreed, 2 if an archive was refused.
    """
    from bench.store.runs import RunStore
    from bench.submissions.check import check_archive
    from bench.submissions.limited import Allowance

    allowance = Allowance(resources.train, train_limit)
    store, done = RunStore(Path(into)) if into else None, []
    with working(resources) as means:
        for archive in archives:
            done.append(check_archive(archive, means, judge=not no_rejudge, into=store, allowance=allowance))
    if as_json:
        print(json.dumps([_data(one) for one in done], indent=2))
    else:
        for one in done:
            _print(one)
    if code := max(one.exit_code for one in done):
        raise typer.Exit(code)


def _data(one: Checked) -> dict[str, object]:
    refused = {"field": one.refused.field, "text": one.refused.text} if one.refused else None
    return {
        "archive": one.archive,
        "run_id": one.run_id,
        "refused": refused,
        "checked": one.checked,
        "unchecked": one.unchecked,
        "disagreements": one.disagreements,
        "doubts": one.doubts,
        "confirmed": one.confirmed,
        "written": str(one.written) if one.written else None,
    }


def _print(one: Checked) -> None:
    if one.refused:
        print(f"{one.archive}: refused: {one.refused.field}: {one.refused.text}")
        return
    ends = f"{len(one.disagreements)} disagreements" if one.disagreements else "accepted"
    state = "" if one.disagreements else ", confirmed" if one.confirmed else ", stated: it is listed and not ranked"
    print(f"{one.archive}: run {one.run_id}: {ends}{state}")
    lists = (
        ("differs", one.disagreements),
        ("in doubt", one.doubts),
        ("checked", one.checked),
        ("not checked", one.unchecked),
    )
    for sign, lines in lists:
        for line in lines:
            print(f"  {sign:<12} {line}")
    if one.written:
        print(f"  written to   {one.written}")

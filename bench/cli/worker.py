"""`bench worker`: the same commands as one of several processes that share nothing but the folders."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.ladder import NOT_OF_A_LADDER
from bench.cli.reproduce import SUITES, MostKeysField, SuiteField
from bench.cli.run import KeysField
from bench.cli.session import ended, working
from bench.cli.takes import takes
from bench.core.flags import Flag
from bench.engine.request import LimitField, ProfileField, QuantizeField, Request, Resources

if TYPE_CHECKING:
    from types import FrameType

    from bench.engine.means import Means
    from bench.studies.spread import Together

MostField = Annotated[int | None, Flag("End after this number of shards, e.g. 10.", least=1)]
_OWN = ("backend", "address", "workers")

app = typer.Typer(
    no_args_is_help=True,
    help="Make shards that nobody makes yet, then exit; any number of these may run, on all machines with the folders.",
)


@app.command()
@takes(Request, Resources, without=_OWN, examples=("bench worker run --defense key-full --threat adaptive",))
def run(
    request: Request,
    resources: Resources,
    keys: KeysField = 1,
    most: MostField = None,
) -> None:
    """Help with `bench run`: the run is finished by whoever finds all its shards."""
    from dataclasses import replace

    with working(resources, key_name=request.key) as means:
        _attend([[replace(request, seed=request.seed + i)] for i in range(keys)], means, most)


@app.command()
@takes(
    Request,
    Resources,
    without=(*NOT_OF_A_LADDER, *_OWN),
    fixed={"threat": ""},
    examples=("bench worker ladder --defense key-lora",),
)
def ladder(
    request: Request,
    resources: Resources,
    rungs: Annotated[str, Flag("Ladder: standard, quick, or a YAML file of rungs.", "ladder")] = "standard",
    most: MostField = None,
) -> None:
    """Help with the rungs of `bench ladder`; that command then only puts them together."""
    from bench.store.keyring import Keyring
    from bench.studies.ladder import asked, load_ladder

    with working(resources, key_name=request.key) as means:
        _attend([[one] for one in asked(load_ladder(rungs), request, Keyring(means.home.keys))], means, most)


@app.command()
@takes(Resources, without=_OWN, examples=("bench worker reproduce fig4",))
def reproduce(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(SUITES)}.")],
    resources: Resources,
    profile: ProfileField = "digits",
    suite: SuiteField = None,
    keys: MostKeysField = None,
    limit: LimitField = None,
    quantize: QuantizeField = None,
    most: MostField = None,
) -> None:
    """Help with the runs of `bench reproduce`; that command then only draws the table or figure."""
    from bench.core.errors import UnknownNameError
    from bench.core.names import suggestion
    from bench.store.keyring import Keyring
    from bench.studies.reproduce import applicable, groups_of
    from bench.studies.suite import load_suite, suite_file

    if name not in SUITES:
        raise UnknownNameError(f"unknown suite {name!r}{suggestion(name, SUITES)}")
    runs = load_suite(Path(suite) if suite else suite_file(profile, name), keys=keys, limit=limit, quantize=quantize)
    with working(resources) as means:
        _attend(groups_of(applicable(runs, Keyring(means.home.keys))), means, most)


def _attend(groups: list[Together], means: Means, most: int | None) -> None:
    from bench.studies.spread import attend_all

    signal.signal(signal.SIGTERM, _stop)  # of a scheduler that takes the machine back: what is held is let go
    made, failed = attend_all(groups, means, most=most)
    means.progress.note(f"this worker made {made} shards; nothing is left that nobody makes" if most is None or
                        made < most else f"this worker made {made} shards")  # fmt: skip
    ended(well=not failed)


def _stop(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(128 + signal.SIGTERM)

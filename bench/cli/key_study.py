"""`bench key-study`: the key study of a defense."""

from __future__ import annotations

import sys
from typing import Annotated

from bench.cli.session import working
from bench.cli.takes import JsonFlag, takes
from bench.core.flags import Flag
from bench.engine.request import Request, Resources


@takes(
    Request,
    Resources,
    without=(
        "protocol",
        "stop_at_precision",
        "estimate",
        "batch_size",
        "precision",
        "judge_device",
        "quantize",
        "backend",
        "address",
    ),
    fixed={"threat": "white-box"},
    defaults={"limit": 200},
    examples=("bench key-study --defense key-lora --limit 100",),
)
def key_study(
    request: Request,
    resources: Resources,
    devices: Annotated[int, Flag("Number of the maker's devices, each with its own key, e.g. 3.")] = 3,
    wrong_keys: Annotated[int, Flag("Number of random wrong keys, e.g. 100.")] = 100,
    guesses: Annotated[int, Flag("Orders that each search of the key estimation may try, e.g. 1200.")] = 1200,
    draws: Annotated[int, Flag("Orders drawn at each distance from the correct key, e.g. 5.")] = 5,
    as_json: JsonFlag = False,
) -> None:
    """Measure what a key is worth: gradients, transfer between keys, substitutes, wrong keys, key estimation."""
    from bench.cli.key_study_tables import print_study
    from bench.store.keyring import Keyring
    from bench.store.keystudies import keystudy_path
    from bench.studies.keystudy import Ask, study

    ask = Ask(request, devices=devices, wrong_keys=wrong_keys, guesses=guesses, draws=draws)
    with working(resources, key_name=request.key) as means:
        record = study(ask, Keyring(means.home.keys), means)
    if as_json:
        sys.stdout.write(record.model_dump_json(indent=2) + "\n")
        return
    print_study(record, keystudy_path(means.results.root, record.study_id))

"""`bench key-study`: what a key is worth."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.config import ConfigOption, SetOption, parse_settings
from bench.cli.options import (
    BaseOption,
    DataOption,
    DeviceOption,
    JsonOption,
    KeyOption,
    OfflineOption,
    PreprocessingOption,
    ProfileOption,
    RebuildOption,
    ResultsOption,
    SeedOption,
    StartOption,
    WeightsOption,
    WorkersOption,
)

if TYPE_CHECKING:
    from bench.store.keystudies import KeyStudyRecord


def key_study(
    defense: Annotated[str, typer.Option(envvar="BENCH_DEFENSE", help="A defense with a key.")],
    devices: Annotated[
        int, typer.Option(envvar="BENCH_DEVICES", help="Devices of the maker, each with a key of its own.")
    ] = 3,
    wrong_keys: Annotated[int, typer.Option(envvar="BENCH_WRONG_KEYS", help="Random wrong keys to try.")] = 100,
    guesses: Annotated[
        int, typer.Option(envvar="BENCH_GUESSES", help="Orders that each climb of the key estimation may try.")
    ] = 1200,
    draws: Annotated[
        int, typer.Option(envvar="BENCH_DRAWS", help="Of orders at each distance from the right key.")
    ] = 5,
    attack: Annotated[
        str | None, typer.Option(envvar="BENCH_ATTACK", help="Of the transfer matrix; default: autoattack.")
    ] = None,
    profile: ProfileOption = "digits",
    norm: Annotated[str, typer.Option(envvar="BENCH_NORM", help="linf, l2 or l1.")] = "linf",
    eps: Annotated[
        str | None, typer.Option(envvar="BENCH_EPS", help="Radius on the [0, 1] pixel scale, e.g. 4/255.")
    ] = None,
    key: KeyOption = None,
    seed: SeedOption = 0,
    limit: Annotated[int, typer.Option(envvar="BENCH_LIMIT", help="Only the first so many images.")] = 200,
    ids: Annotated[
        str | None, typer.Option(envvar="BENCH_IDS", help="Only these images: robustbench-5000, or a file of ids.")
    ] = None,
    data: DataOption = None,
    preprocessing: PreprocessingOption = None,
    base: BaseOption = None,
    start: StartOption = None,
    weights: WeightsOption = None,
    offline: OfflineOption = False,
    workers: WorkersOption = None,
    train: Annotated[
        bool, typer.Option(envvar="BENCH_TRAIN", help="Train missing models now, also where that takes hours.")
    ] = False,
    settings: SetOption = None,
    results: ResultsOption = "results",
    device: DeviceOption = "cpu",
    rebuild: RebuildOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """What a key is worth: gradients and transfer between keys, substitutes without one, wrong keys, keys found."""
    from bench.cli.key_study_tables import print_study
    from bench.cli.means import make_means
    from bench.cli.progress import listener
    from bench.core.budget import parse_norm
    from bench.engine.resolve import Request
    from bench.store.home import Home
    from bench.store.keyring import Keyring
    from bench.store.keystudies import keystudy_path
    from bench.studies.keystudy import Ask, study

    request = Request(
        defense=defense,
        threat="white-box",
        attack=attack,
        profile=profile,
        norm=parse_norm(norm),
        eps=eps,
        seed=seed,
        limit=limit,
        key=key,
        ids=ids,
        preprocessing=preprocessing,
        base=base,
        start=start,
        weights=Path(weights) if weights else None,
        settings=parse_settings(settings or []),
    )
    with listener() as progress:
        means = make_means(
            results, device, progress, data=data, weights=weights, offline=offline, workers=workers, train=train,
            rebuild=rebuild, key_name=key,
        )  # fmt: skip
        record: KeyStudyRecord = study(
            Ask(request, devices=devices, wrong_keys=wrong_keys, guesses=guesses, draws=draws),
            Keyring(Home.default().keys),
            means,
        )
    if as_json:
        sys.stdout.write(record.model_dump_json(indent=2) + "\n")
        return
    print_study(record, keystudy_path(means.results.root, record.study_id))

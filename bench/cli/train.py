"""`bench train`: make keyed models ahead of their evaluation."""

from __future__ import annotations

import json
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
    ProfileOption,
    RebuildOption,
    SeedOption,
    StartOption,
    WeightsOption,
    WorkersOption,
)

if TYPE_CHECKING:
    from bench.engine.deploy import Deployed


def train(
    defense: Annotated[str, typer.Option(envvar="BENCH_DEFENSE", help="What is trained; see `bench list defenses`.")],
    profile: ProfileOption = "digits",
    data: DataOption = None,
    base: BaseOption = None,
    start: StartOption = None,
    weights: WeightsOption = None,
    key: KeyOption = None,
    seed: SeedOption = 0,
    keys: Annotated[
        int, typer.Option(envvar="BENCH_KEYS", min=1, help="So many deployments, of seeds SEED, SEED + 1, ...")
    ] = 1,
    substitutes: Annotated[
        int, typer.Option(envvar="BENCH_SUBSTITUTES", min=0, help="And so many models of an adversary's own keys.")
    ] = 0,
    siblings: Annotated[
        int, typer.Option(envvar="BENCH_SIBLINGS", min=0, help="And so many other devices of the same maker.")
    ] = 0,
    subset: Annotated[
        float | None, typer.Option(envvar="BENCH_SUBSET", help="Train on this share of the images of every class.")
    ] = None,
    micro_batch: Annotated[
        int | None, typer.Option(envvar="BENCH_MICRO_BATCH", min=1, help="Images at once on a device; else all.")
    ] = None,
    checkpoint_every: Annotated[
        int, typer.Option(envvar="BENCH_CHECKPOINT_EVERY", min=1, help="Steps between checkpoints.")
    ] = 500,
    tensorboard: Annotated[
        bool, typer.Option(envvar="BENCH_TENSORBOARD", help="Write TensorBoard's files beside log.csv.")
    ] = False,
    offline: OfflineOption = False,
    workers: WorkersOption = None,
    settings: SetOption = None,
    device: DeviceOption = "cpu",
    rebuild: RebuildOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fine-tune keyed models; killed, the same command goes on. Several GPUs: accelerate launch -m bench train ..."""
    from bench.cli.means import make_means, spare_cores
    from bench.cli.progress import listener
    from bench.core.errors import InputError
    from bench.core.plugins import TrainingMeans
    from bench.core.progress import Silent
    from bench.core.registry import registry
    from bench.engine.deploy import train_models
    from bench.engine.resolve import Request, resolve
    from bench.store.home import Home
    from bench.store.keyring import Keyring
    from bench.training.processes import join, leads

    if key and keys > 1:
        raise InputError(f"--key names one key and --keys asks for {keys}; expected one of the two")
    join(device)
    chosen = parse_settings(settings or [])
    tuning = registry("defenses").load(defense).tuning
    if subset is not None:
        if tuning is None:
            raise InputError(f"defense {defense} is not trained on images; expected no --subset")
        chosen[f"profile.recipes.{tuning}.subset"] = subset
    training = TrainingMeans(
        micro_batch=micro_batch,
        workers=spare_cores() if workers is None else workers,
        checkpoint_every=checkpoint_every,
        tensorboard=tensorboard,
    )
    made: list[Deployed] = []
    with listener() as bars:
        progress = bars if leads() else Silent()
        for number in range(seed, seed + keys):
            request = Request(
                defense=defense,
                threat="white-box",
                profile=profile,
                seed=number,
                key=key,
                base=base,
                start=start,
                weights=Path(weights) if weights else None,
                settings=chosen,
            )
            job = resolve(request, Keyring(Home.default().keys))
            means = make_means(
                "results", device, progress, data=data, weights=weights, offline=offline, train=True,
                training=training, rebuild=rebuild, key_name=key,
            )  # fmt: skip
            made += train_models(job.spec, job.key, means, substitutes=substitutes, siblings=siblings)
    if leads():
        _print(made, as_json=as_json)


def _print(made: list[Deployed], *, as_json: bool) -> None:
    from dataclasses import asdict

    from rich.table import Table

    from bench.cli.console import make_console

    if as_json:
        sys.stdout.write(json.dumps([asdict(m) for m in made], indent=2, default=str) + "\n")
        return
    table = Table("model", "seed", "key", "digest", "seconds", "log")
    for m in made:
        cells = (m.role, str(m.seed), m.fingerprint or "", m.digest[:12], f"{m.seconds:.1f}")
        table.add_row(*cells, str(m.log) if m.log else "kept already")
    make_console().print(table)

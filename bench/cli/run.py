"""`bench run`: one evaluation."""

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
    from bench.engine.means import Means
    from bench.engine.resolve import Request


def run(
    defense: Annotated[str, typer.Option(envvar="BENCH_DEFENSE", help="What is defended; see `bench list defenses`.")],
    threat: Annotated[str, typer.Option(envvar="BENCH_THREAT", help="Which model the adversary holds.")],
    attack: Annotated[
        str | None, typer.Option(envvar="BENCH_ATTACK", help="How it makes adversarial images; default: the threat's.")
    ] = None,
    profile: ProfileOption = "digits",
    norm: Annotated[str, typer.Option(envvar="BENCH_NORM", help="linf, l2 or l1.")] = "linf",
    eps: Annotated[
        str | None, typer.Option(envvar="BENCH_EPS", help="Radius on the [0, 1] pixel scale, e.g. 4/255.")
    ] = None,
    protocol: Annotated[
        str, typer.Option(envvar="BENCH_PROTOCOL", help="strict attacks every image; paper as arXiv 2311.16577 did.")
    ] = "strict",
    key: KeyOption = None,
    seed: SeedOption = 0,
    limit: Annotated[int | None, typer.Option(envvar="BENCH_LIMIT", help="Only the first so many images.")] = None,
    ids: Annotated[
        str | None, typer.Option(envvar="BENCH_IDS", help="Only these images: robustbench-5000, or a file of ids.")
    ] = None,
    keys: Annotated[
        int, typer.Option(envvar="BENCH_KEYS", min=1, help="So many deployments, of seeds SEED, SEED + 1, ...")
    ] = 1,
    stop_at_precision: Annotated[
        float | None,
        typer.Option(
            envvar="BENCH_STOP_AT_PRECISION", help="End once the 95% interval is as narrow: points to either side."
        ),
    ] = None,
    judge_device: Annotated[
        int, typer.Option(envvar="BENCH_JUDGE_DEVICE", min=0, help="Which of the maker's devices is judged.")
    ] = 0,
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
    batch_size: Annotated[
        int | None, typer.Option(envvar="BENCH_BATCH_SIZE", help="Images an attack gets at once.")
    ] = None,
    precision: Annotated[
        str, typer.Option(envvar="BENCH_PRECISION", help="Of the search: fp32, tf32, bf16 or auto; verdicts are fp32.")
    ] = "fp32",
    settings: SetOption = None,
    results: ResultsOption = "results",
    device: DeviceOption = "cpu",
    backend: Annotated[str, typer.Option(envvar="BENCH_BACKEND", help="Where shards run.")] = "local",
    rebuild: RebuildOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Attack one defense under one threat model and judge every image."""
    from bench.cli.means import make_means, parse_precision
    from bench.cli.progress import listener
    from bench.cli.show import print_record
    from bench.core.budget import parse_norm
    from bench.core.errors import InputError
    from bench.core.nouns import Protocol
    from bench.core.registry import registry
    from bench.engine.evaluate import run as evaluate
    from bench.engine.resolve import Request, resolve
    from bench.store.home import Home
    from bench.store.keyring import Keyring

    if protocol not in list(Protocol):
        raise InputError(f"unknown protocol {protocol!r}; expected one of {', '.join(Protocol)}")
    registry("backends").load(backend)
    request = Request(
        defense=defense,
        threat=threat,
        attack=attack,
        profile=profile,
        norm=parse_norm(norm),
        eps=eps,
        protocol=Protocol(protocol),
        seed=seed,
        limit=limit,
        batch_size=batch_size,
        precision=parse_precision(precision, device),
        key=key,
        ids=ids,
        stop_at_precision=stop_at_precision,
        judge_device=judge_device,
        preprocessing=preprocessing,
        base=base,
        start=start,
        weights=Path(weights) if weights else None,
        settings=parse_settings(settings or []),
    )
    with listener() as progress:
        job = resolve(request, Keyring(Home.default().keys))
        if job.spec.budget.doubt:
            progress.note(f"warning: {job.spec.budget.doubt}")
        means = make_means(
            results,
            device,
            progress,
            backend=backend,
            data=data,
            weights=weights,
            offline=offline,
            workers=workers,
            train=train,
            rebuild=rebuild,
            key_name=key,
        )
        if keys > 1:
            _several(request, keys, means, as_json=as_json)
            return
        made = evaluate(job, means)
        if made.complete:
            progress.note("this run was complete already; its record is shown (nothing was attacked again)")
    print_record(made.record, means.results, as_json=as_json)
    sys.stdout.flush()
    if not made.record.eligible:
        raise typer.Exit(1)


def _several(request: Request, keys: int, means: Means, *, as_json: bool) -> None:
    """One run for each of several deployments, and what they say together."""
    from bench.cli.show import print_keys
    from bench.store.keyring import Keyring
    from bench.store.several import write_keys
    from bench.studies.several import evaluate_keys

    record = evaluate_keys(request, keys, Keyring(means.home.keys), means)
    path = write_keys(means.results.root, record)
    if as_json:
        sys.stdout.write(record.model_dump_json(indent=2) + "\n")
    else:
        print_keys(record, path)
    sys.stdout.flush()
    if not record.eligible:
        raise typer.Exit(1)

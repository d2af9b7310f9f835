"""`bench ladder`: a defense against every adversary that could meet it."""

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
    from bench.store.ladders import LadderRecord, Rung


def ladder(
    defense: Annotated[str, typer.Option(envvar="BENCH_DEFENSE", help="What is defended; see `bench list defenses`.")],
    rungs: Annotated[
        str, typer.Option("--ladder", envvar="BENCH_LADDER", help="standard, quick, or a YAML file of rungs.")
    ] = "standard",
    profile: ProfileOption = "digits",
    norm: Annotated[str, typer.Option(envvar="BENCH_NORM", help="linf, l2 or l1.")] = "linf",
    eps: Annotated[
        str | None, typer.Option(envvar="BENCH_EPS", help="Radius on the [0, 1] pixel scale, e.g. 4/255.")
    ] = None,
    key: KeyOption = None,
    seed: SeedOption = 0,
    limit: Annotated[int | None, typer.Option(envvar="BENCH_LIMIT", help="Only the first so many images.")] = None,
    ids: Annotated[
        str | None, typer.Option(envvar="BENCH_IDS", help="Only these images: robustbench-5000, or a file of ids.")
    ] = None,
    broken_below: Annotated[
        float,
        typer.Option(
            envvar="BENCH_BROKEN_BELOW", min=0, max=1, help="Share of the clean accuracy under which it is broken."
        ),
    ] = 0.5,
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
    precision: Annotated[
        str, typer.Option(envvar="BENCH_PRECISION", help="Of the search: fp32, tf32, bf16 or auto; verdicts are fp32.")
    ] = "fp32",
    settings: SetOption = None,
    results: ResultsOption = "results",
    device: DeviceOption = "cpu",
    rebuild: RebuildOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run every tier's threats and attacks on the same images; report each tier and the per-image worst case."""
    from bench.cli.means import make_means, parse_precision
    from bench.cli.progress import listener
    from bench.core.budget import parse_norm
    from bench.core.errors import InputError
    from bench.engine.resolve import Request
    from bench.store.home import Home
    from bench.store.keyring import Keyring
    from bench.store.ladders import write_ladder
    from bench.studies.ladder import climb, load_ladder

    chosen = parse_settings(settings or [])
    if wrong := [name for name in chosen if name.startswith(("threat.", "attack."))]:
        raise InputError(f"setting {wrong[0]!r} belongs to one rung; expected it in the ladder's file (--ladder FILE)")
    request = Request(
        defense=defense,
        threat="",
        profile=profile,
        norm=parse_norm(norm),
        eps=eps,
        seed=seed,
        limit=limit,
        precision=parse_precision(precision, device),
        key=key,
        ids=ids,
        preprocessing=preprocessing,
        base=base,
        start=start,
        weights=Path(weights) if weights else None,
        settings=chosen,
    )
    with listener() as progress:
        means = make_means(
            results, device, progress, data=data, weights=weights, offline=offline, workers=workers, train=train,
            rebuild=rebuild, key_name=key,
        )  # fmt: skip
        record = climb(load_ladder(rungs), request, Keyring(Home.default().keys), means, broken_below=broken_below)
        path = write_ladder(means.results.root, record)
    if as_json:
        sys.stdout.write(record.model_dump_json(indent=2) + "\n")
    else:
        _print(record, path)
    if not record.eligible:
        raise typer.Exit(1)


def _print(record: LadderRecord, path: Path) -> None:
    from rich.table import Table

    from bench.cli.console import make_console
    from bench.cli.show import percent, plugin

    console = make_console()
    low, high = record.clean_interval
    title = f"{plugin(record.defense.name, record.defense.options)}, {record.budget}, {record.images} images"
    table = Table("tier", "threat", "attack", "source clean", "robust", "worst so far", "run", title=title,
                  title_justify="left")  # fmt: skip
    for rung in record.rungs:
        table.add_row(*_cells(rung), f"<= {percent(rung.worst_so_far or 0.0)}", rung.run_id)
    console.print(table)
    if record.paper:
        beside = Table("tier", "threat", "attack", "source clean", "robust", "", "run", title_justify="left",
                       title="as arXiv 2311.16577 measured: stock AutoAttack, protocol paper")  # fmt: skip
        for rung in record.paper:
            beside.add_row(*_cells(rung), "", rung.run_id)
        console.print(beside)
    tiers = Table("tier", "worst case in it", "worst case up to it", "95% interval", title="per-image worst case",
                  title_justify="left")  # fmt: skip
    for tier in record.tiers:
        own = "no source worth it" if tier.robust_accuracy is None else f"<= {percent(tier.robust_accuracy)}"
        left, right = tier.interval
        tiers.add_row(tier.tier, own, f"<= {percent(tier.up_to)}", f"{100 * left:.1f} - {percent(right)}")
    console.print(tiers)
    for item in record.skipped:
        left_out = f"{plugin(item.threat.name, item.threat.options)} {item.attack}".strip()
        console.print(f"left out: {left_out}: {item.why}", markup=False)
    for rung in record.rungs:
        for text in rung.against:
            console.print(f"not eligible: run {rung.run_id}: {text}", markup=False)
    console.print(f"clean accuracy {percent(record.clean_accuracy)} (95% interval {100 * low:.1f} - {percent(high)})")
    broken = f"first broken by {record.first_break}" if record.first_break else "broken by no tier"
    console.print(f"{broken} (less than {percent(record.broken_below)} of the clean accuracy left)")
    console.print(f"ladder {record.ladder_id}: {path}", markup=False)


def _cells(rung: Rung) -> tuple[str, ...]:
    from bench.cli.show import percent, plugin

    options = {name: value for name, value in rung.threat.options.items() if name in _TELLING}
    weak = " (source too weak)" if rung.source_too_weak else ""
    robust = f"<= {percent(rung.robust_accuracy)}{weak}"
    return rung.tier, plugin(rung.threat.name, options), rung.attack, percent(rung.source_clean_accuracy), robust


# Options by which the rungs of one threat differ.
_TELLING = ("members", "base", "query_budget", "queries", "how", "compromised")

"""`bench perf`: the engine and its peers, side by side."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import DeviceOption, JsonOption

if TYPE_CHECKING:
    from bench.perf.contest import Timing


def perf(
    subject: Annotated[str, typer.Option(envvar="BENCH_SUBJECT", help="digits-vit or vit-b-16.")] = "digits-vit",
    workload: Annotated[
        str, typer.Option(envvar="BENCH_WORKLOAD", help="standard, apgd (gradient steps) or square (queries).")
    ] = "standard",
    robust: Annotated[
        list[float] | None, typer.Option(envvar="BENCH_ROBUST", help="Shares of robust images to look for a radius at.")
    ] = None,
    eps: Annotated[
        list[str] | None,
        typer.Option(envvar="BENCH_EPS", help="Radii under l-inf; default: one that breaks all images."),
    ] = None,
    images: Annotated[
        int, typer.Option(envvar="BENCH_IMAGES", help="How many, all of which the model gets right.")
    ] = 64,
    steps: Annotated[
        int | None, typer.Option(envvar="BENCH_STEPS", help="Iterations of apgd or queries of square.")
    ] = None,
    precision: Annotated[
        list[str] | None, typer.Option(envvar="BENCH_PRECISION", help="Of the engine's search; several may be given.")
    ] = None,
    peers: Annotated[
        str, typer.Option(envvar="BENCH_PEERS", help="official, torchattacks, comma between.")
    ] = "official",
    batch_size: Annotated[int | None, typer.Option(envvar="BENCH_BATCH_SIZE", help="Images at once, for all.")] = None,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Time the attack engine beside its peers on the same model and images, each with its robust accuracy."""
    from bench.cli.means import make_means, parse_precision
    from bench.cli.progress import listener
    from bench.core.budget import Budget
    from bench.core.errors import InputError
    from bench.perf.contest import WORKLOADS, contest, rated
    from bench.perf.subjects import radius_for
    from bench.perf.subjects import subject as find

    if workload not in WORKLOADS:
        raise InputError(f"unknown workload {workload!r}; expected one of {', '.join(WORKLOADS)}")
    if steps is not None and workload == "standard":
        raise InputError("--steps goes with --workload apgd or square; the standard attack has its own")
    searches = [parse_precision(name, device) for name in precision or ["fp32"]]
    timings: list[Timing] = []
    with listener() as progress:
        found = find(subject, images, make_means("results", device, progress))
        budgets = [Budget.parse(f"linf:{e}") for e in eps or []]
        budgets += [radius_for(found, share) for share in robust or []]
        for budget in budgets or [found.budget]:
            for i, search in enumerate(searches):
                named = [p for p in peers.split(",") if p] if i == 0 else []
                progress.note(f"{subject}, {workload}, {budget}, {search}, beside {', '.join(named) or 'nobody'}")
                timings += contest(
                    found,
                    budget,
                    workload,
                    precision=search,
                    batch_size=batch_size,
                    peers=named,
                    steps=steps,
                )
    _print(rated(timings), as_json=as_json)


def _print(timings: list[Timing], *, as_json: bool) -> None:
    from rich.table import Table

    from bench.cli.console import make_console
    from bench.cli.show import percent

    if as_json:
        print(json.dumps([asdict(t) for t in timings], indent=2))
        return
    table = Table(
        "subject", "workload", "budget", "who", "images", "robust", "seconds", "ms/image-step", "MFU", "x faster"
    )
    for t in timings:
        table.add_row(
            t.subject, t.workload, t.budget, t.contestant, str(t.images), percent(t.robust), f"{t.seconds:.2f}",
            "" if t.per_image_step_ms is None else f"{t.per_image_step_ms:.3f}",
            "" if t.mfu is None else percent(t.mfu), "" if t.ratio is None else f"{t.ratio:.2f}",
        )  # fmt: skip
    make_console().print(table)
    for t in timings:
        for name, part in t.parts.items():
            make_console().print(f"{t.contestant} {t.budget} {name}: " + "  ".join(f"{k} {v}" for k, v in part.items()))

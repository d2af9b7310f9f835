"""`bench perf`: the engine compared with its peers."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from bench.cli.session import working
from bench.cli.takes import JsonFlag, takes
from bench.core.flags import Flag
from bench.engine.request import Resources

if TYPE_CHECKING:
    from bench.perf.contest import Timing
    from bench.perf.device import Reached


@takes(Resources, only=("device",), examples=("bench perf --workload apgd --steps 20",))
def perf(
    resources: Resources,
    subject: Annotated[str, Flag("Model: digits-vit or vit-b-16.")] = "digits-vit",
    workload: Annotated[str, Flag("standard, apgd (gradients), square (queries); every: all, no peers.")] = "standard",
    robust: Annotated[list[float] | None, Flag("Find the radius at which this share is robust, e.g. 0.5.")] = None,
    eps: Annotated[list[str] | None, Flag("L-inf radius, e.g. 4/255. Default: one that breaks all images.")] = None,
    images: Annotated[int, Flag("Number of images, all classified correctly.", env="BENCH_PERF_IMAGES")] = 64,
    steps: Annotated[int | None, Flag("Iterations of apgd or queries of square, e.g. 20.")] = None,
    precision: Annotated[
        list[str] | None, Flag("Arithmetic of the engine: fp32, tf32 or bf16; may be given several times.")
    ] = None,
    peers: Annotated[str, Flag("Peers, separated by commas: official, torchattacks.")] = "official",
    batch_size: Annotated[int | None, Flag("Images per batch, for all, e.g. 128.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Time the attack engine and its peers on the same model and images, each with its robust accuracy."""
    from bench.core.budget import Budget
    from bench.core.devices import name_of
    from bench.core.errors import InputError
    from bench.engine.request import parse_precision
    from bench.perf.contest import WORKLOADS, check_peer, contest, rated
    from bench.perf.device import EVERY, reached
    from bench.perf.subjects import radius_for
    from bench.perf.subjects import subject as find

    if workload not in (*WORKLOADS, "every"):
        raise InputError(f"unknown workload {workload!r}; expected one of {', '.join(WORKLOADS)}, every")
    if steps is not None and workload == "standard":
        raise InputError("--steps is for --workload apgd or square; the standard attack has its own")
    searches = [parse_precision(name, resources.device) for name in precision or ["fp32"]]
    if workload == "every":
        if robust or eps:
            raise InputError("--workload every has radii of its own; expected no --robust and no --eps")
        with working(resources) as means:
            found = find(subject, images, means)
            means.progress.note(f"{subject} on {name_of(means.device)}: {', '.join(EVERY)}")
            lines = [reached(found, one, search, batch_size, steps) for search in searches for one in EVERY]
        _print_reached(lines, as_json=as_json)
        return
    timings: list[Timing] = []
    rivals = [p for p in peers.split(",") if p]
    for rival in rivals:
        check_peer(rival)
    with working(resources) as means:
        found = find(subject, images, means)
        budgets = [Budget.parse(f"linf:{e}") for e in eps or []]
        budgets += [radius_for(found, share) for share in robust or []]
        for budget in budgets or [found.budget]:
            for i, search in enumerate(searches):
                named = rivals if i == 0 else []
                means.progress.note(f"{subject}, {workload}, {budget}, {search}, peers: {', '.join(named) or 'none'}")
                timings += contest(found, budget, workload, precision=search, batch_size=batch_size, peers=named,
                                   steps=steps)  # fmt: skip
    _print(rated(timings), as_json=as_json)


def _print_reached(lines: list[Reached], *, as_json: bool) -> None:
    from rich.table import Table

    from bench.cli.console import make_console
    from bench.cli.show import percent

    if as_json:
        print(json.dumps([asdict(line) for line in lines], indent=2))
        return
    table = Table("subject", "workload", "precision", "batch", "images/s", "queries/s", "MFU", "outside the model")
    for r in lines:
        table.add_row(
            r.subject, r.workload, r.precision, str(r.batch), f"{r.images_per_second:.1f}",
            f"{r.queries_per_second:.0f}", *("" if v is None else percent(v) for v in (r.mfu, r.outside)),
        )  # fmt: skip
    make_console().print(table)


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

"""`bench plan`: the estimated cost of a run or a suite."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.session import working
from bench.cli.takes import JsonFlag, takes
from bench.core.flags import Flag
from bench.engine.request import Resources

if TYPE_CHECKING:
    from bench.core.spec import Spec
    from bench.engine.means import Means
    from bench.plan.gauge import Amount
    from bench.plan.plan import Plan


@takes(
    Resources,
    only=("device", "data", "weights", "workers"),
    examples=("bench plan configs/imagenet/table1.yaml --on h200",),
)
def plan(
    spec: Annotated[str, typer.Argument(help="A YAML file: flags of `bench run --config`, or a suite.")],
    resources: Resources,
    measure: Annotated[bool, Flag("Time a few calls of every architecture on the device.")] = True,
    on: Annotated[str | None, Flag("Estimate times for a device from its published peak, e.g. h200.")] = None,
    mfu: Annotated[float, Flag("Share of that peak that is reached, e.g. 0.35.")] = 0.35,
    price: Annotated[float | None, Flag("Price per hour (US dollars) of --on or --device, e.g. 2.5.", least=0)] = None,
    images: Annotated[
        int | None,
        Flag("Images of every run, e.g. 1000. Default: all that the data set has.", env="BENCH_PLAN_IMAGES", least=1),
    ] = None,
    precision: Annotated[str | None, Flag("Arithmetic of the attacks: fp32, tf32 or bf16.")] = None,
    micro_batch: Annotated[
        int | None, Flag("Images per forward pass of a training, e.g. 64. Default: the whole batch.", least=1)
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Estimate the cost of a run or suite: model calls, PFLOP, hours, money, memory, disk. Needs no data or weights."""
    from bench.core.errors import InputError
    from bench.plan.devices import find_device
    from bench.plan.plan import Asked
    from bench.plan.plan import plan as make_plan

    if not 0 < mfu <= 1:
        raise InputError(f"--mfu is {mfu}; expected a share above 0 and up to 1")
    there, here = find_device(on) if on else None, resources.device if measure else None
    with working(resources) as means:
        asked = Asked(images=images, data=means.data, device=here, there=there, mfu=mfu, price=price,
                      micro_batch=micro_batch, workers=resources.workers or 1, progress=means.progress)  # fmt: skip
        made = make_plan(_specs(Path(spec), precision, resources, means), asked)
    if as_json:
        from dataclasses import asdict

        print(json.dumps(asdict(made), indent=2))
    else:
        _print(made, here=here, there=on)


def _specs(path: Path, precision: str | None, resources: Resources, means: Means) -> list[tuple[str, str, Spec]]:
    """Row, column and Spec of every run of the file; it names its images if they are here."""
    from bench.engine.images_here import ImagesHere
    from bench.engine.request import parse_precision
    from bench.engine.resolve import resolve
    from bench.store.home import Home
    from bench.store.keyring import Keyring
    from bench.studies.suite import load_suite

    keyring, data, specs = Keyring(Home.default().keys), ImagesHere(means), []
    for run in load_suite(path):
        request = run.request
        if precision:
            request = replace(request, precision=parse_precision(precision, resources.device))
        if resources.weights:
            request = replace(request, weights=resources.weights)
        job = resolve(request, keyring)
        if data.here(job.spec.profile):
            job = resolve(request, keyring, data)
        specs.append((run.row, run.column, job.spec))
    return specs


def _print(made: Plan, *, here: str | None, there: str | None) -> None:
    from rich.table import Table

    from bench.cli.console import make_console

    console, places = make_console(), [f"hours, {name}" for name in (here, there) if name]
    columns = ("run", "source", "images", "forwards an image", "backwards", "GB", "PFLOP")
    title = "Runs, each by itself: least (all fooled at once) - most (all stay robust)"
    table = Table(*columns, *places, title=title, title_justify="left")
    for run in made.runs:
        name = f"{run.row} {run.column}".strip() + (" *" if run.shares else "")
        calls = (
            [_span(getattr(run.calls.least, k), getattr(run.calls.most, k)) for k in ("forwards", "backwards")]
            if run.calls
            else ["unknown"] * 2
        )
        table.add_row(
            name,
            run.source,
            f"{run.images:,}",
            *calls,
            f"{run.memory / 1e9:.3g}",
            *_amounts(run.least, run.most, here, there),
        )
    console.print(table)
    if made.trainings:
        console.print(_trainings(made, places, here, there))
    _print_totals(made, here, there)


def _trainings(made: Plan, places: list[str], here: str | None, there: str | None) -> object:
    from rich.table import Table

    table = Table("model", "options", "seed", "steps", "GB", "PFLOP", *places, title_justify="left",
                  title="Models to train, each once")  # fmt: skip
    for t in made.trainings:
        options = ", ".join(f"{k}={v}" for k, v in t.options.items())
        cells = (t.name, options, str(t.seed), f"{t.steps:,} of {t.batch_size}", f"{t.memory / 1e9:.3g}")
        table.add_row(*cells, *_amounts(t.amount, t.amount, here, there))
    return table


def _print_totals(made: Plan, here: str | None, there: str | None) -> None:
    from rich.table import Table

    from bench.cli.console import make_console

    console, whole = make_console(), made.totals
    table = Table(show_header=False, title="Total, shared work counted once", title_justify="left")
    most = whole.most if whole.complete else None
    amounts = _amounts(whole.least, most, here, there)
    table.add_row("PFLOP", f"{amounts[0]}, of which training {_short(whole.training.flops / 1e15)}")
    for name, hours in zip([n for n in (here, there) if n], amounts[1:], strict=True):
        table.add_row(f"hours, {name}", hours)
    if shared := whole.shared:
        span = _span(shared.seconds[0] / 3600, shared.seconds[1] / 3600 if whole.complete else None)
        busy = _span(100 * shared.efficiency[0], 100 * shared.efficiency[1])
        name = f"hours, {there or here} x {shared.workers}"
        table.add_row(name, f"{span}: {shared.shards:,} shards, workers busy {busy}% of the time")
    if whole.cost:
        table.add_row("cost", _span(whole.cost[0], whole.cost[1] if whole.complete else None))
    table.add_row("attacks", f"{whole.attacks}, for {len(made.runs)} runs")
    measured = max((run.measured for run in made.runs if run.measured), default=None)
    seen = f"; measured on the GPU for an attack: {measured / 1e9:.3g} GB" if measured else ""
    table.add_row("device memory", f"{whole.memory / 1e9:.3g} GB{seen}")
    disk = (whole.images_bytes, whole.models_bytes, whole.checkpoint_bytes, whole.verdicts_bytes)
    words = ("adversarial images", "trained models", "a checkpoint", "verdicts")
    parts = ", ".join(f"{what} {size / 1e9:.3g}" for what, size in zip(words, disk, strict=True))
    table.add_row("disk", f"{sum(disk) / 1e9:.3g} GB: {parts}")
    console.print(table)
    if any(run.shares for run in made.runs):
        console.print("* judges adversarial images that a run above it makes")
    for text in made.notes:
        console.print(text if text.startswith("warning") else f"note: {text}", markup=False)


def _amounts(least: Amount, most: Amount | None, here: str | None, there: str | None) -> list[str]:
    """PFLOP, then the hours that were asked about."""
    cells = [_span(least.flops / 1e15, most.flops / 1e15 if most else None)]
    for place, kind in ((here, "here"), (there, "there")):
        if place:
            low, high = getattr(least, kind), getattr(most, kind) if most else None
            cells.append("unknown" if low is None else _span(low / 3600, None if high is None else high / 3600))
    return cells


def _span(low: float, high: float | None) -> str:
    if high is None:
        return f"{_short(low)} - unknown"
    return _short(low) if _short(low) == _short(high) else f"{_short(low)} - {_short(high)}"


def _short(value: float) -> str:
    """Three digits, or the whole number."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"

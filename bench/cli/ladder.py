"""`bench ladder`: a defense against every applicable adversary."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from bench.cli.session import ended, working
from bench.cli.takes import JsonFlag, takes
from bench.core.flags import Flag
from bench.engine.request import Request, Resources

if TYPE_CHECKING:
    from bench.store.ladders import LadderRecord, Rung


# A ladder decides these for each of its rungs, or needs every verdict.
NOT_OF_A_LADDER = ("attack", "protocol", "stop_at_precision", "estimate", "batch_size", "judge_device")


@takes(
    Request,
    Resources,
    without=NOT_OF_A_LADDER,
    fixed={"threat": ""},
    examples=("bench ladder --defense key-lora", "bench ladder --defense plain --ladder quick --limit 100"),
)
def ladder(
    request: Request,
    resources: Resources,
    rungs: Annotated[str, Flag("Ladder: standard, quick, or a YAML file of rungs.", "ladder")] = "standard",
    broken_below: Annotated[
        float,
        Flag("Share of the clean accuracy below which a defense counts as broken, e.g. 0.5.", least=0, most=1),
    ] = 0.5,
    as_json: JsonFlag = False,
) -> None:
    """Run every tier's threats and attacks on the same images; report each tier and the per-image worst case."""
    from bench.store.keyring import Keyring
    from bench.store.ladders import write_ladder
    from bench.studies.ladder import climb, load_ladder

    with working(resources, key_name=request.key) as means:
        record = climb(load_ladder(rungs), request, Keyring(means.home.keys), means, broken_below=broken_below)
        path = write_ladder(means.results.root, record)
    if as_json:
        sys.stdout.write(record.model_dump_json(indent=2) + "\n")
    else:
        _print(record, path)
    ended(well=record.eligible)


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
    _print_tiers(record)
    _print_controls(record)
    for item in record.skipped:
        left_out = f"{plugin(item.threat.name, item.threat.options)} {item.attack}".strip()
        console.print(f"left out: {left_out}: {item.why}", markup=False)
    for rung in record.rungs:
        for reason in rung.against:
            console.print(f"not eligible: run {rung.run_id}: {reason.text}", markup=False)
    console.print(f"clean accuracy {percent(record.clean_accuracy)} (95% interval {100 * low:.1f} - {percent(high)})")
    broken = f"first broken by {record.first_break}" if record.first_break else "broken by no tier"
    console.print(f"{broken} (less than {percent(record.broken_below)} of the clean accuracy left)")
    console.print(f"ladder {record.ladder_id}: {path}", markup=False)


def _print_tiers(record: LadderRecord) -> None:
    """Every tier with the number of tries up to it, the best single attack and the worst case of all tries."""
    from rich.table import Table

    from bench.cli.console import make_console
    from bench.cli.show import percent

    more = [name for name in _MORE if any(getattr(tier, name) is not None for tier in record.tiers)]
    table = Table("tier", "worst case in it", "tries up to it", "best single attack", "worst case of all tries",
                  "95% interval", *map(_MORE.__getitem__, more), title="per-image worst case",
                  title_justify="left")  # fmt: skip
    for tier in record.tiers:
        low, high = tier.interval
        table.add_row(
            tier.tier,
            "no usable source" if tier.robust_accuracy is None else f"<= {percent(tier.robust_accuracy)}",
            str(tier.tries or ""),
            "" if tier.best_single is None else f"<= {percent(tier.best_single)}",
            f"<= {percent(tier.up_to)}",
            f"{100 * low:.1f} - {percent(high)}",
            *(f"<= {percent(getattr(tier, name) or 0.0)}" for name in more),
        )
    make_console().print(table)


def _print_controls(record: LadderRecord) -> None:
    """What perturbations of the same size do that were not made for the image."""
    from rich.table import Table

    from bench.cli.console import make_console
    from bench.cli.show import percent

    table = Table("tier", "run", "another image's", "noise of the same size", "their own", title_justify="left",
                  title="control: images correct without attack that stay so, under which perturbation")  # fmt: skip
    for rung in record.rungs:
        if (held := rung.controls) is not None:
            other = "" if held.other is None else percent(held.other)
            table.add_row(rung.tier, rung.run_id, other, percent(held.noise), percent(held.own))
    if table.row_count:
        make_console().print(table)


def _cells(rung: Rung) -> tuple[str, ...]:
    from bench.cli.show import percent, plugin

    options = {name: value for name, value in rung.threat.options.items() if name in _TELLING}
    weak = " (source too weak)" if rung.source_too_weak else ""
    robust = f"<= {percent(rung.robust_accuracy)}{weak}"
    return rung.tier, plugin(rung.threat.name, options), rung.attack, percent(rung.source_clean_accuracy), robust


# Options that distinguish the rungs of one threat.
_TELLING = ("members", "base", "query_budget", "queries", "how", "compromised")
# Further figures of a tier, shown where they were measured.
_MORE = {"quantized": "in 8 bits", "expected": "expected over members"}

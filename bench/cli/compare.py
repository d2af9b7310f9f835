"""`bench results compare`: runs compared on the same images."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.takes import JsonFlag, takes
from bench.engine.request import Resources

if TYPE_CHECKING:
    from bench.store.run import Run
    from bench.studies.compare import Comparison, Pair

RunsArgument = Annotated[list[str], typer.Argument(help="Ids of two or more runs, or their first digits.")]


@takes(Resources, only=("results",))
def compare(runs: RunsArgument, resources: Resources, as_json: JsonFlag = False) -> None:
    """Compare runs on the same images: paired difference, exact McNemar test, Holm's correction over all pairs."""
    from bench.store.runs import RunStore
    from bench.studies.compare import compare as compare_runs

    store = RunStore(resources.results)
    comparison = compare_runs([store.find(run).read() for run in runs])
    if as_json:
        print(json.dumps(_data(comparison), indent=2, allow_nan=False))
    else:
        _show(comparison)


def _show(comparison: Comparison) -> None:
    from rich.table import Table

    from bench.cli.console import make_console
    from bench.cli.show import percent

    console = make_console()
    table = Table("run", "defense", "threat", "attack", "n", "robust", "95% interval")
    for run in comparison.runs:
        spec, (low, high) = run.record.spec, run.interval
        robust = f"<= {percent(run.robust_accuracy)}"
        names = (run.id, spec.defense.name, spec.threat.name, spec.attack.name)
        table.add_row(*names, str(len(run.rows)), robust, f"{100 * low:.1f} - {percent(high)}")
    console.print(table)
    for difference in comparison.differences:
        console.print(f"differs: {difference.field}: {' | '.join(difference.values)}", markup=False)
    table = Table(
        "A", "B", "n", "robust A", "robust B", "A - B", "95% interval", "only A / only B", "p exact", "p Holm"
    )
    for pair in comparison.pairs:
        table.add_row(*_cells(pair))
    console.print(table)
    for text in [pair.sentence for pair in comparison.pairs] + [of.sentence for of in comparison.tries]:
        console.print(text, markup=False)
    for text in comparison.warnings:
        console.print(f"warning: {text}", markup=False)


def _cells(pair: Pair) -> tuple[str, ...]:
    from bench.cli.show import percent

    table, (low, high) = pair.table, pair.interval
    return (
        pair.a,
        pair.b,
        str(table.n),
        percent(table.robust_a),
        percent(table.robust_b),
        f"{100 * table.difference:+.1f}",
        f"{100 * low:+.1f} to {100 * high:+.1f}",
        f"{table.only_a} / {table.only_b}",
        f"{pair.p:.2g}",
        f"{pair.p_holm:.2g}",
    )


def _data(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON-compatible data; fractions in [0, 1]."""
    return {
        "images": comparison.pairs[0].table.n,
        "runs": [_run_data(run) for run in comparison.runs],
        "differences": {d.field: list(d.values) for d in comparison.differences},
        "pairs": [_pair_data(pair) for pair in comparison.pairs],
        "tries": [asdict(of) for of in comparison.tries],
        "warnings": list(comparison.warnings),
    }


def _run_data(run: Run) -> dict[str, Any]:
    spec = run.record.spec
    return {
        "run_id": run.id,
        "defense": spec.defense.name,
        "threat": spec.threat.name,
        "attack": spec.attack.name,
        "robust_accuracy": run.robust_accuracy,
        "robust_accuracy_interval": list(run.interval),
        "invalid_or_error": run.unknown,
        "eligible": run.record.eligible,
    }


def _pair_data(pair: Pair) -> dict[str, Any]:
    table = pair.table
    return {
        "a": pair.a,
        "b": pair.b,
        "both_robust": table.both,
        "only_a": table.only_a,
        "only_b": table.only_b,
        "neither": table.neither,
        "difference": table.difference,
        "difference_interval": list(pair.interval),
        "p_exact": pair.p,
        "p_holm": pair.p_holm,
        "needed_images": pair.needed,
        "sentence": pair.sentence,
    }

"""Records printed to standard output."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.table import Table

from bench.cli.console import make_console
from bench.core.nouns import Outcome
from bench.store.elsewhere import place_of
from bench.store.record import Metrics, Record
from bench.store.runs import RunStore
from bench.store.several import KeysRecord


def print_record(record: Record, results: RunStore, *, as_json: bool) -> None:
    """The record as JSON, or as a small table."""
    if as_json:
        sys.stdout.write(record.model_dump_json(indent=2) + "\n")
        return
    console = make_console()
    spec, metrics, cost = record.spec, record.metrics, record.cost
    low, high = metrics.robust_accuracy_interval
    table = Table(show_header=False, title=f"run {record.run_id}", title_justify="left")
    rows = [
        ("profile", spec.profile.name),
        ("defense", plugin(spec.defense.name, spec.defense.options)),
        ("threat", spec.threat.name),
        ("attack", f"{spec.attack.name}, {spec.budget}, protocol {spec.protocol}, seed {spec.seed}"),
        ("images", str(metrics.images)),
        ("clean accuracy", percent(metrics.clean_accuracy)),
        ("source clean accuracy", percent(metrics.source_clean_accuracy)),
        ("adversary", f"tier {_tier(record)}; knows {', '.join(record.adversary.knows) or 'nothing'}"),
        ("robust accuracy", f"<= {percent(metrics.robust_accuracy)}  (95% interval {100 * low:.1f} - {percent(high)})"),
        *_estimated(metrics),
        *_further(metrics),
        ("outcomes", "  ".join(f"{outcome} {metrics.outcomes[outcome]}" for outcome in Outcome)),
        *(
            [("first part alone", f"left {e.survivors - e.n2} of the robust images so; the rest did not run on them")]
            if (e := metrics.estimate)
            else []
        ),
        ("audit", audited(record)),
        ("seconds", f"{cost.total_seconds:.1f}, of which the attack {cost.attack_seconds:.1f}{_reuse(record)}"),
        ("cost of the attack", "\n".join(_cost(record)) or "none"),
        ("record", place_of(results.run(record.run_id).where)),
    ]
    for name, value in rows:
        table.add_row(name, value)
    console.print(table)
    failed = [found for found in record.audit if found.status in ("warn", "fail")]
    for found in failed:
        console.print(f"audit {found.status}: {found.check}: {found.meaning}", markup=False)
    for text in record.notes:
        console.print(f"note: {text}", markup=False)
    for text in record.warnings:
        console.print(f"warning from the attack: {text}", markup=False)
    for reason in record.ineligible_because:
        console.print(f"not eligible for the leaderboard ({reason.code}): {reason.text}", markup=False)


def audited(record: Record) -> str:
    """What the quick form of the audit found, and on how many images it ran."""
    if not record.audit:
        return "not run, because eps is 0" if record.spec.budget.eps == 0 else "not run"
    count = {status: sum(found.status == status for found in record.audit) for status in ("fail", "warn")}
    form = f"quick form, {record.audit_images} images" if record.audit_images else "quick form"
    return f"{form}: {count['fail']} checks fail, {count['warn']} warn"


def print_keys(record: KeysRecord, path: Path) -> None:
    """Several keys, and their combined result."""
    console = make_console()
    table = Table("seed", "run", "clean", "robust", title=f"{len(record.runs)} keys, {record.images} images each",
                  title_justify="left")  # fmt: skip
    for run in record.runs:
        table.add_row(str(run.seed), run.run_id, percent(run.clean_accuracy), f"<= {percent(run.robust_accuracy)}")
    console.print(table)
    for name, figure, (low, high) in (
        ("mean over keys", record.mean, record.interval),
        ("worst key", record.minimum, record.minimum_interval),
    ):
        console.print(f"{name}: <= {percent(figure)} (95% interval {100 * low:.1f} - {percent(high)})")
    console.print(str(path), markup=False)


def percent(fraction: float) -> str:
    """A fraction in [0, 1] as a percentage with one decimal."""
    return f"{100 * fraction:.1f}%"


def plugin(name: str, options: dict[str, object]) -> str:
    """A plug-in with its options."""
    given = ", ".join(f"{k}={v}" for k, v in options.items())
    return f"{name} ({given})" if given else name


def _estimated(metrics: Metrics) -> list[tuple[str, str]]:
    """Of a run in two phases: what it ran, and the figure behind its images."""
    found = metrics.estimate
    if found is None:
        return []
    low, high = found.behind
    return [
        ("estimated", f"what the full run would print: n1 = {found.n1:,} images, {found.survivors:,} survive the first "
         f"part; n2 = {found.n2:,} of these sampled, {found.fell:,} fell"),
        ("population", f"95% interval {100 * low:.1f} - {percent(high)} on images like these"),
    ]  # fmt: skip


def _further(metrics: Metrics) -> list[tuple[str, str]]:
    """Figures beside the robust accuracy, as far as they were measured."""
    rows, held = [], metrics.controls
    if metrics.paper_accuracy is not None:
        rows.append(("as the paper counts", f"<= {percent(metrics.paper_accuracy)}  (correct on the adversarial image, "
                     "whatever the clean prediction)"))  # fmt: skip
    if metrics.quantized_accuracy is not None:
        rows.append(
            ("in 8 bits", f"<= {percent(metrics.quantized_accuracy)}  (adversarial images rounded in the ball)")
        )
    if metrics.expected_accuracy is not None:
        every = percent(metrics.every_member_accuracy or 0.0)
        rows.append(("drawn members", f"{percent(metrics.expected_accuracy)} of fresh draws are correct; on {every} of "
                     "the images every member is"))  # fmt: skip
    if held is not None:
        other = f"{percent(held.other)} stay right under another image's perturbation" if held.other is not None else ""
        noise = f"{percent(held.noise)}{'' if other else ' stay right'} under noise of the same size"
        rows.append(("control", f"{', '.join(filter(None, (other, noise)))}, {percent(held.own)} under their own"))
    return rows


def _tier(record: Record) -> str:
    """The effective tier, and what the threat declares where that is another."""
    declared = record.adversary.tier
    return record.tier if record.tier == declared else f"{record.tier} (the threat declares {declared})"


def _cost(record: Record) -> list[str]:
    """Cost of each attack, and the utilisation of the device."""
    cost, images = record.cost, record.metrics.images
    lines = []
    for part in (part for part in cost.parts if part.forwards):
        calls = f"{part.forwards / images:.1f} forward, {part.backwards / images:.1f} backward per image"
        model = f", {part.model_seconds:.1f} in the model" if part.model_seconds else ""
        lines.append(f"{part.attack}: {calls}; {part.seconds:.1f} s{model}")
    if not lines:
        return []
    flops = "FLOPs not counted"
    if cost.flops_forward is not None and cost.flops_backward is not None:
        total = cost.source_forwards * cost.flops_forward + cost.source_backwards * cost.flops_backward
        flops = f"{total / images / 1e9:.3g} GFLOP per image"
    rate = f", {cost.images_per_second:.1f} images/s" if cost.images_per_second else ""
    share = f", {percent(cost.mfu)} of the matrix-product peak while in the model" if cost.mfu is not None else ""
    return [*lines, f"{flops}{rate}{share}"]


def _reuse(record: Record) -> str:
    cost = record.cost
    parts = [f"{cost.shards_resumed} of {cost.shards} shards resumed"] if cost.shards_resumed else []
    parts += [f"images of {cost.shards_reused} of {cost.shards} shards were reused"] if cost.shards_reused else []
    return f" ({', '.join(parts)})" if parts else ""

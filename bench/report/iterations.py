"""Accuracy against the steps of a gradient attack."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.budgets import Spending, spent
from bench.report.output import Output
from bench.store.record import Record
from bench.store.suites import Cell


def iterations(cells: Sequence[Cell]) -> Output:
    """One line per adversary, one panel per row; x is the attack's option ``steps``."""
    return spent(cells, _SPENDING)


def _steps(record: Record) -> int | None:
    found = record.spec.attack.options.get("steps")
    return int(found) if found is not None else None


def _label(record: Record) -> str:
    return f"{record.spec.threat.name} ({record.tier}), {record.spec.attack.name}"


_SPENDING = Spending(
    name="iterations",
    axis="iterations",
    title="Accuracy against attack iterations",
    amount=_steps,
    label=_label,
    note="White-box is the positive control. On another source more iterations need not help: an attack can overfit "
    "the source. Every point is a separate run.",
)

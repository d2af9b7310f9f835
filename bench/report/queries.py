"""Accuracy against the query limit of the deployed model per image."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.budgets import Spending, spent
from bench.report.output import Output
from bench.store.record import Record
from bench.store.suites import Cell


def queries(cells: Sequence[Cell]) -> Output:
    """One line per kind of answer, one panel per row; x is the number of queries allowed per image."""
    return spent(cells, _SPENDING)


def _allowed(record: Record) -> int | None:
    """The threat's limit or the attack's own, whichever is lower."""
    limits = [record.adversary.queries, record.spec.attack.options.get("queries")]
    return min(int(x) for x in limits if x is not None) if record.adversary.queries is not None else None


def _label(record: Record) -> str:
    return f"{record.adversary.access} alone ({record.spec.threat.name}, {record.spec.attack.name})"


_SPENDING = Spending(
    name="queries",
    axis="queries allowed for each image",
    title="Accuracy against queries",
    amount=_allowed,
    label=_label,
    note="Query attacks on the deployed model never need the key: only a query limit defends here. The limit applies "
    "per image, including the clean image; every point is a separate run.",
)

"""The output of a report: tables as text and as data, figures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        title: One line.
        header: Headings, of Markdown and LaTeX.
        body: Cells as displayed, in the order of ``header``.
        data: The same and more as numbers (fractions in [0, 1]) and text, one mapping per line of the CSV file; all
            lines have the same names.
    """

    title: str
    header: tuple[str, ...]
    body: tuple[tuple[str, ...], ...]
    data: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Output:
    """Everything that is written under one name.

    Attributes:
        table: The table.
        figures: By suffix of the file name; "" for the figure without a suffix.
        notes: What a reader must know, one line each; printed under the table.
        runs: Ids of the runs that it is computed from.
        commands: Commands that fill the empty cells.
        beside: Further tables, without data of their own: the data of ``table`` are of all.
    """

    table: Table
    figures: dict[str, Figure] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    beside: tuple[Table, ...] = ()

    @property
    def tables(self) -> tuple[Table, ...]:
        """All tables, in their order."""
        return self.table, *self.beside

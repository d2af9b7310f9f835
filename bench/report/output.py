"""What a report hands to whoever writes it: tables as text and as data, figures."""

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
        body: Cells as they are read, in the order of ``header``.
        data: The same and more as numbers (fractions in [0, 1]) and words, one mapping for each line of the CSV file;
            all lines have the same names.
    """

    title: str
    header: tuple[str, ...]
    body: tuple[tuple[str, ...], ...]
    data: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Output:
    """All that is written for one name.

    Attributes:
        table: The table.
        figures: By the end of the file's name; "" for the one that bears the name itself.
        notes: What a reader must know, one line each; under the table.
        runs: Ids of the runs that it comes from.
        commands: What fills the cells that are still empty.
    """

    table: Table
    figures: dict[str, Figure] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()

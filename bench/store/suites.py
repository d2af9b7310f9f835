"""A cell of a suite, as read by a table or figure: its request and its result."""

from __future__ import annotations

from dataclasses import dataclass

from bench.store.record import Record
from bench.store.run import Run
from bench.store.verdicts import Row


@dataclass(frozen=True)
class Cell:
    """One row and column of a suite, for one key.

    Attributes:
        row: Of the suite.
        column: Of the suite.
        device: The judged device of the maker; each device has its own key.
        command: The `bench run` that fills it.
        run: Record and verdicts; None where it was not run yet.
        stands_for: The row of the published table that a small model stands for; empty if there is none.
    """

    row: str
    column: str
    device: int
    command: str
    run: Run | None
    stands_for: str = ""

    @property
    def record(self) -> Record | None:
        """The run's; None where it was not run yet."""
        return self.run.record if self.run else None

    @property
    def rows(self) -> tuple[Row, ...]:
        """The run's verdicts; none where it was not run yet."""
        return self.run.rows if self.run else ()

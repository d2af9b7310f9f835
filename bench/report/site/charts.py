"""The worst-case ladder as bars: numbers for a drawing made when the site is built."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bench.report.board.model import Interval, RungLine

WIDTH = 200.0  # of a bar of 100%, in units of the drawing


@dataclass(frozen=True)
class Bar:
    """A share and its interval along a bar, in units of the drawing."""

    length: float
    low: float
    high: float

    @classmethod
    def of(cls, share: float, interval: Interval) -> Bar:
        """The bar for a fraction."""
        low, high = interval
        return cls(*(round(WIDTH * x, 2) for x in (share, low, high)))


@dataclass(frozen=True)
class RungBars:
    """A rung with its bars; ``link`` if the board has its page."""

    rung: RungLine
    bar: Bar
    worst: float
    here: bool
    link: bool


def steps(rungs: Iterable[RungLine], here: str, known: frozenset[str]) -> tuple[RungBars, ...]:
    """The ladder of a run's page."""
    return tuple(
        RungBars(r, Bar.of(r.robust, r.interval), round(WIDTH * r.worst_so_far, 2), r.run_id == here, r.run_id in known)
        for r in rungs
    )

"""Formatting of figures: percent with one decimal, intervals in brackets."""

from __future__ import annotations

from bench.report.accuracy import Accuracy, Interval, difference

EMPTY = "-"


def percent(share: float) -> str:
    """``0.634`` as ``63.4``."""
    return f"{100 * share:.1f}"


def signed(share: float) -> str:
    """A signed difference in percentage points."""
    return f"{100 * share:+.1f}"


def with_interval(share: float, interval: Interval, *, upper: bool) -> str:
    """``<= 63.4 [59.1, 67.5]``; the sign marks an upper bound."""
    low, high = interval
    return f"{'<= ' if upper else ''}{percent(share)} [{percent(low)}, {percent(high)}]"


def bound(found: Accuracy | None, share: float | None, images: int | None) -> tuple[float, float, float] | None:
    """Measured minus reported, with its interval; None if one of them is missing."""
    if found is None or share is None or images is None:
        return None
    return found.mean - share, *difference(found, share, images)

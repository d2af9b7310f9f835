"""Human-readable figures and names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.report.board.model import Interval

TIERS = {
    "T0": "has the pre-trained model",
    "T1": "has the pre-trained model, the mechanism and the training data",
    "T1+": "as T1, with an attack designed for transfer",
    "T1s": "has a sibling device, including its key",
    "T2": "queries the target",
    "T3": "trains a model on the target's answers",
    "T4": "has the target's weights, but not its key",
    "T5": "has everything: white-box",
}


def percent(share: float | None) -> str:
    """A fraction as percent with one decimal."""
    return "not known" if share is None else f"{100 * share:.1f}%"


def at_most(share: float) -> str:
    """Robust accuracy, formatted as an upper bound."""
    return f"≤ {percent(share)}"


def limits(interval: Interval) -> str:
    """An interval of fractions."""
    low, high = interval
    return f"{100 * low:.1f} to {100 * high:.1f}%"


def value(thing: Any) -> str:
    """Any value of a record."""
    match thing:
        case None:
            text = "none"
        case bool():
            text = "yes" if thing else "no"
        case int():
            text = f"{thing:,}"
        case float():
            text = f"{thing:.6g}"
        case list() | tuple():
            text = ", ".join(value(part) for part in thing) or "none"
        case Mapping():
            text = ", ".join(f"{name} {value(part)}" for name, part in sorted(thing.items())) or "none"
        case _:
            text = str(thing)
    return text

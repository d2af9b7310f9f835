"""The tiers of the ladder in a record, and the per-image worst case up to each of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from bench.core.errors import BenchError
from bench.core.nouns import Protocol
from bench.core.registry import registry
from bench.core.tiers import TIERS
from bench.report.accuracy import robust
from bench.store.record import Record
from bench.store.suites import Cell

TRANSFER = ("T0", "T1", "T1+")
BROKEN_BELOW = 0.5  # share of the clean accuracy under which a defense is broken; the default of `bench ladder`


def tier_of(record: Record) -> str:
    """The tier of a run; one that attacks the deployed model itself is white-box, whatever it is called."""
    if record.digests.source == record.digests.target and record.adversary.access == "gradients":
        return "T5"
    tier = record.adversary.tier
    return "T1+" if tier == "T1" and _for_transfer(record.spec.attack.name) else tier


def worst_up_to(cells: Iterable[Cell]) -> Mapping[str, NDArray[np.bool_]]:
    """For each tier that ran against one deployment, lowest first: which images stand against it and all below it."""
    by_tier: dict[str, NDArray[np.bool_]] = {}
    for cell in cells:
        if cell.record is None or cell.record.spec.protocol is not Protocol.STRICT:
            continue
        tier, stands = tier_of(cell.record), robust(cell.rows)
        by_tier[tier] = by_tier[tier] & stands if tier in by_tier else stands
    out: dict[str, NDArray[np.bool_]] = {}
    so_far: NDArray[np.bool_] | None = None
    for tier in TIERS:
        if tier in by_tier:
            so_far = by_tier[tier] if so_far is None else so_far & by_tier[tier]
            out[tier] = so_far
    return out


def _for_transfer(attack: str) -> bool:
    try:
        return bool(getattr(registry("attacks").load(attack), "for_transfer", False))
    except BenchError:  # a plug-in that is not here
        return False

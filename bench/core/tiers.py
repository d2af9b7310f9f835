"""The tiers of the adversary ladder, in order of increasing knowledge; docs/threats.md gives their assumptions."""

from __future__ import annotations

from typing import Literal, get_args

TierName = Literal["T0", "T1", "T1+", "T1s", "T2", "T3", "T4", "T5"]  # T1+ is T1 with an attack designed for transfer
TIERS: tuple[str, ...] = get_args(TierName)

"""The tiers of the adversary ladder, from the one who knows least; docs/threats.md says what each assumes."""

from __future__ import annotations

TIERS = ("T0", "T1", "T1+", "T1s", "T2", "T3", "T4", "T5")  # T1+ is T1 with an attack made for transfer

"""The adversary holds everything."""

from __future__ import annotations

from typing import ClassVar

from bench.core.nouns import Trained
from bench.core.plugins import Knowledge, Plugin, View


class WhiteBox(Plugin):
    """The deployed model itself, weights and key: the positive control, about 0% expected."""

    tier: ClassVar[str] = "T5"
    knows: ClassVar[frozenset[Knowledge]] = frozenset({Knowledge.TARGET})
    cost: ClassVar[str] = (
        "one device taken apart, its key included, or a file in which the key is folded into the weights"
    )

    def source(self, view: View) -> Trained:
        """The target."""
        return view.target()

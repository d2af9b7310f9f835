"""The adversary has everything."""

from __future__ import annotations

from bench.core.nouns import Trained
from bench.core.plugins import Knowledge, Threat, View


class WhiteBox(Threat):
    """The deployed model itself, weights and key: the positive control, about 0% expected."""

    tier = "T5"
    knows = frozenset({Knowledge.TARGET})
    cost = "one device taken apart, its key included, or a file in which the key is folded into the weights"

    def source(self, view: View) -> Trained:
        """The target."""
        return view.target()

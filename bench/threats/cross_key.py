"""A compromised device attacks the others (Fig. 1 of arXiv 2311.16577)."""

from __future__ import annotations

from pydantic import Field

from bench.core.nouns import Trained
from bench.core.plugins import Knowledge, Threat, View


class CrossKey(Threat):
    """White-box on a sibling device with another key; the images are then judged on the target."""

    tier = "T1s"
    knows = frozenset({Knowledge.SIBLING})
    cost = "one device of the same maker, bought and taken apart"

    compromised: int = Field(1, ge=0, description="number of the compromised device; the one judged is white-box")

    def source(self, view: View) -> Trained:
        """The sibling."""
        return view.sibling(self.compromised)

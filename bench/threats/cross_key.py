"""A compromised device attacks the others (Fig. 1 of arXiv 2311.16577)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from bench.core.nouns import Trained
from bench.core.plugins import Knowledge, Plugin, View


class CrossKey(Plugin):
    """White-box on a sibling device with another key; its images are then tried on the target."""

    tier: ClassVar[str] = "T1s"
    knows: ClassVar[frozenset[Knowledge]] = frozenset({Knowledge.SIBLING})
    cost: ClassVar[str] = "one device of the same maker, bought and taken apart"

    compromised: int = Field(1, ge=0, description="number of the compromised device; the one judged is white-box")

    def source(self, view: View) -> Trained:
        """The sibling."""
        return view.sibling(self.compromised)

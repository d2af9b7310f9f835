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

    sibling: int = Field(0, ge=0, description="which sibling is compromised")

    def source(self, view: View) -> Trained:
        """The sibling."""
        return view.sibling(self.sibling)

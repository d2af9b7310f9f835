"""The adversary knows the mechanism and the data, and needs no key to imitate the defender."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from bench.core.nouns import Trained
from bench.core.plugins import Knowledge, Plugin, View


class AdaptiveKeyFree(Plugin):
    """A substitute fine-tuned on plain images from a first layer with permuted inputs: what a key amounts to."""

    tier: ClassVar[str] = "T1"
    knows: ClassVar[frozenset[Knowledge]] = frozenset({Knowledge.PRETRAINED, Knowledge.MECHANISM})
    cost: ClassVar[str] = "the training data and one fine-tuning; the transform need not be known"

    draw: int = Field(0, ge=0, description="which of the permutations the substitute starts from")

    def source(self, view: View) -> Trained:
        """The substitute."""
        return view.key_free(self.draw)

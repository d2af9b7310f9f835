"""The adversary knows the mechanism and the training data, and needs no key to imitate the defender."""

from __future__ import annotations

from pydantic import Field

from bench.core.nouns import Trained
from bench.core.plugins import Knowledge, Threat, View


class AdaptiveKeyFree(Threat):
    """A substitute fine-tuned on plain images from a first layer with permuted inputs, the equivalent of a key."""

    tier = "T1"
    knows = frozenset({Knowledge.PRETRAINED, Knowledge.MECHANISM})
    cost = "the training data and one fine-tuning; the transform need not be known"

    draw: int = Field(0, ge=0, description="number of the random permutation that the substitute starts from")

    def source(self, view: View) -> Trained:
        """The substitute."""
        return view.key_free(self.draw)

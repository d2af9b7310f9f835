"""The adversary guesses several keys and attacks all substitutes jointly."""

from __future__ import annotations

from pydantic import Field

from bench.core.nouns import Trained
from bench.core.plugins import Knowledge, Threat, View
from bench.models.ensemble import together


class AdaptiveEnsemble(Threat):
    """Several substitutes with guessed keys, their logits averaged; optionally with the pre-trained model."""

    tier = "T1"
    knows = frozenset({Knowledge.PRETRAINED, Knowledge.MECHANISM})
    cost = "the training data and as many fine-tunings as members"

    members: int = Field(4, ge=1, description="number of substitutes, with guessed keys 0, 1, ...")
    base: bool = Field(False, description="add the pre-trained model as a member")

    def source(self, view: View) -> Trained:
        """All members as one model."""
        substitutes = [view.substitute(guess) for guess in range(self.members)]
        return together([view.base(), *substitutes] if self.base else substitutes)

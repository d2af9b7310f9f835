"""The adversary guesses several keys and attacks what the substitutes have in common."""

from __future__ import annotations

from pydantic import Field

from bench.core.nouns import Trained
from bench.core.plugins import Knowledge, Threat, View
from bench.models.ensemble import together


class AdaptiveEnsemble(Threat):
    """Several substitutes with guessed keys, their logits averaged; on request the pre-trained model among them."""

    tier = "T1"
    knows = frozenset({Knowledge.PRETRAINED, Knowledge.MECHANISM})
    cost = "the training data and as many fine-tunings as members"

    members: int = Field(4, ge=1, description="substitutes, made with guessed keys 0, 1, ...")
    base: bool = Field(False, description="the pre-trained model is one more member")

    def source(self, view: View) -> Trained:
        """All of them as one model."""
        substitutes = [view.substitute(guess) for guess in range(self.members)]
        return together([view.base(), *substitutes] if self.base else substitutes)

"""The adversary knows the mechanism and the training data, and guesses a key."""

from __future__ import annotations

from pydantic import Field

from bench.core.nouns import Trained
from bench.core.plugins import Knowledge, Threat, View


class Adaptive(Threat):
    """A substitute fine-tuned by the defender's method with one guessed key (arXiv 2311.16577)."""

    tier = "T1"
    knows = frozenset({Knowledge.PRETRAINED, Knowledge.MECHANISM})
    cost = "the training data and one fine-tuning"

    guess: int = Field(0, ge=0, description="number of the guessed key")

    def source(self, view: View) -> Trained:
        """The substitute."""
        return view.substitute(self.guess)

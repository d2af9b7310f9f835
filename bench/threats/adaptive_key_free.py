"""The adversary knows the mechanism and the training data, and needs no key to imitate the defender."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bench.core.nouns import Trained
from bench.core.plugins import Knowledge, Threat, View
from bench.models.ensemble import together


class AdaptiveKeyFree(Threat):
    """Substitutes fine-tuned on plain images by the defender's method, from the base or its first layer permuted."""

    tier = "T1"
    knows = frozenset({Knowledge.PRETRAINED, Knowledge.MECHANISM})
    cost = "the training data and as many fine-tunings as members; the transform need not be known"

    start: Literal["plain", "permutations"] = Field(
        "plain",
        description="plain: the base as it is; permutations: its first layer with the inputs of each block permuted at "
        "random, as a key of the block shuffle would (equal in law to threat adaptive)",
    )
    members: int = Field(1, ge=1, description="number of substitutes, whose logits are averaged")
    draw: int = Field(0, ge=0, description="number of the first substitute; each has its own permutation and seed")

    def source(self, view: View) -> Trained:
        """All members as one model."""
        permuted, first = self.start == "permutations", self.draw
        return together([view.key_free(draw, permuted=permuted) for draw in range(first, first + self.members)])

"""The adversary queries the deployed model and sees its scores."""

from __future__ import annotations

from pydantic import Field

from bench.core.nouns import Access, Trained
from bench.core.plugins import Knowledge, Threat, View


class QueryScore(Threat):
    """The deployed model's scores, with a query limit per image; the key is never needed."""

    tier = "T2"
    knows = frozenset({Knowledge.QUERIES})
    access = Access.SCORES
    attack = "square"
    cost = "a device or an interface that shows scores, and some thousand calls for each image"

    queries: int = Field(5000, ge=1, description="queries per image; AutoAttack's Square uses 5,000")

    def source(self, view: View) -> Trained:
        """The target's scores."""
        return view.answers(Access.SCORES)

"""The adversary queries the deployed model and sees its label."""

from __future__ import annotations

from pydantic import Field

from bench.core.nouns import Access, Trained
from bench.core.plugins import Knowledge, Threat, View


class QueryDecision(Threat):
    """Only the deployed model's label, with a query limit per image; the key is never needed."""

    tier = "T2"
    knows = frozenset({Knowledge.QUERIES})
    access = Access.LABELS
    attack = "rays"
    cost = "a device or an interface that shows a label, and some thousand calls for each image"

    queries: int = Field(10_000, ge=1, description="queries per image; RayS is published with 10,000")

    def source(self, view: View) -> Trained:
        """The target's labels."""
        return view.answers(Access.LABELS)

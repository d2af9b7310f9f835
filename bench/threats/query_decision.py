"""The adversary asks the deployed model and sees its label."""

from __future__ import annotations

from pydantic import Field

from bench.core.nouns import Access, Trained
from bench.core.plugins import Knowledge, Threat, View


class QueryDecision(Threat):
    """The deployed model's label and nothing else, so many times for each image; the key never enters."""

    tier = "T2"
    knows = frozenset({Knowledge.QUERIES})
    access = Access.LABELS
    attack = "rays"
    cost = "a device or an interface that shows a label, and some thousand calls for each image"

    queries: int = Field(10_000, ge=1, description="questions for each image; RayS is published with 10,000")

    def source(self, view: View) -> Trained:
        """The target's labels."""
        return view.answers(Access.LABELS)

"""The adversary asks the deployed model and sees its label."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from bench.core.nouns import Access, Trained
from bench.core.plugins import Knowledge, Plugin, View


class QueryDecision(Plugin):
    """The deployed model's label and nothing else, so many times for each image; the key never enters."""

    tier: ClassVar[str] = "T2"
    knows: ClassVar[frozenset[Knowledge]] = frozenset({Knowledge.QUERIES})
    access: ClassVar[Access] = Access.LABELS
    attack: ClassVar[str] = "rays"
    cost: ClassVar[str] = "a device or an interface that shows a label, and some thousand calls for each image"

    queries: int = Field(10_000, ge=1, description="questions for each image; RayS is published with 10,000")

    def source(self, view: View) -> Trained:
        """The target's labels."""
        return view.answers(Access.LABELS)

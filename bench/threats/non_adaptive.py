"""The adversary knows only where the defender started."""

from __future__ import annotations

from typing import ClassVar

from bench.core.nouns import Trained
from bench.core.plugins import Knowledge, Plugin, View


class NonAdaptive(Plugin):
    """The undefended pre-trained model; nothing of the defense (arXiv 2311.16577)."""

    tier: ClassVar[str] = "T0"
    knows: ClassVar[frozenset[Knowledge]] = frozenset({Knowledge.PRETRAINED})
    cost: ClassVar[str] = "the download of a public model"

    def source(self, view: View) -> Trained:
        """The base."""
        return view.base()

"""The adversary knows only the defender's starting point."""

from __future__ import annotations

from bench.core.nouns import Trained
from bench.core.plugins import Knowledge, Threat, View


class NonAdaptive(Threat):
    """The undefended pre-trained model, without any knowledge of the defense (arXiv 2311.16577)."""

    tier = "T0"
    knows = frozenset({Knowledge.PRETRAINED})
    cost = "the download of a public model"

    def source(self, view: View) -> Trained:
        """The base."""
        return view.base()

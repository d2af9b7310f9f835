"""No defense: the unmodified pre-trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from bench.core.plugins import Defense, Kit
from bench.core.profile import Profile


class Plain(Defense):
    """The undefended pre-trained model, the reference for every defense."""

    def recipe(self, profile: Profile) -> dict[str, Any]:
        """Nothing is trained."""
        return {}

    def train(self, kit: Kit, folder: Path) -> None:
        """Nothing is trained."""

    def load(self, kit: Kit, folder: Path) -> nn.Module:
        """The profile's starting model."""
        return kit.start()

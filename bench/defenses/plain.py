"""No defense: the pre-trained model as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from bench.core.plugins import Defense, Kit
from bench.core.profile import Profile


class Plain(Defense):
    """The undefended pre-trained model, the row against which every defense is read."""

    def recipe(self, profile: Profile) -> dict[str, Any]:
        """Nothing is trained."""
        return {}

    def train(self, kit: Kit, folder: Path) -> None:
        """Nothing is trained."""

    def load(self, kit: Kit, folder: Path) -> nn.Module:
        """What the profile starts from."""
        return kit.start()

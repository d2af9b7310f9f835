"""APGD on the untargeted DLR loss: the whole of what a further APGD needs."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from bench.attacks.autoattack.apgd import Apgd
from bench.attacks.autoattack.losses import dlr
from bench.attacks.autoattack.types import State


@dataclass(frozen=True)
class ApgdDlr(Apgd):
    """Auto-PGD on the difference of logits ratio (arXiv:2003.01690, eq. 6)."""

    name: str = "apgd-dlr"

    def runs(self, classes: int) -> int:
        """One run per restart; none with two classes, where the loss is not defined."""
        return self.restarts if classes >= 3 else 0

    def loss(self, logits: Tensor, state: State) -> Tensor:
        """DLR, (S,)."""
        return dlr(logits, state["label"])

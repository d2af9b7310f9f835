"""APGD on the untargeted DLR loss; shows all that a further APGD variant needs."""

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
        """One run per restart; none with two classes, for which the loss is undefined."""
        return self.restarts if classes >= 3 else 0

    def loss(self, logits: Tensor, state: State) -> Tensor:
        """DLR, (S,)."""
        return dlr(logits, state["label"])

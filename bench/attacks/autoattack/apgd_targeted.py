"""APGD on the targeted DLR loss, one run per target class."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.attacks.autoattack.apgd import Apgd
from bench.attacks.autoattack.losses import ranked_targets, targeted_dlr
from bench.attacks.autoattack.types import Newcomers, State
from bench.core.devices import uploaded


@dataclass(frozen=True)
class ApgdTargeted(Apgd):
    """Auto-PGD on the targeted DLR (arXiv:2003.01690, eq. 7) against the most likely other classes in turn.

    Attributes:
        targets: Target classes per image, by descending clean logit; capped at the number of other classes.
    """

    name: str = "apgd-t"
    targets: int = 9

    def runs(self, classes: int) -> int:
        """Every target with every restart; none below four classes, for which the loss is undefined."""
        return 0 if classes < 4 else min(self.targets, classes - 1) * self.restarts

    def begin(self, newcomers: Newcomers) -> State:
        """As APGD, with the target class."""
        state = super().begin(newcomers)
        ranks = torch.tensor([1 + run // self.restarts for run in newcomers.runs])
        return state | {
            "target": ranked_targets(newcomers.logits, newcomers.labels, uploaded(ranks, newcomers.labels.device))
        }

    def loss(self, logits: Tensor, state: State) -> Tensor:
        """Targeted DLR, (S,)."""
        return targeted_dlr(logits, state["label"], state["target"])

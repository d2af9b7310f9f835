"""Losses that the attacks maximise, one value per image; logits (B, K), labels (B,)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# Keeps the denominators of the DLR losses above zero, as in the official code.
_TINY = 1e-12


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy (B,) in nats."""
    return F.cross_entropy(logits, labels, reduction="none")


def dlr(logits: Tensor, labels: Tensor) -> Tensor:
    """Difference of logits ratio (B,), Croce and Hein, arXiv:2003.01690, eq. (6); needs 3 classes."""
    top = logits.topk(3, dim=1)
    own = logits.gather(1, labels[:, None]).squeeze(1)
    other = torch.where(top.indices[:, 0] == labels, top.values[:, 1], top.values[:, 0])
    return (other - own) / (top.values[:, 0] - top.values[:, 2] + _TINY)


def targeted_dlr(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """Targeted DLR (B,), arXiv:2003.01690, eq. (7); needs 4 classes."""
    top = logits.topk(4, dim=1).values
    own = logits.gather(1, labels[:, None]).squeeze(1)
    aim = logits.gather(1, targets[:, None]).squeeze(1)
    return (aim - own) / (top[:, 0] - 0.5 * (top[:, 2] + top[:, 3]) + _TINY)


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """True-class logit minus the best other (B,); negative where the image is misclassified."""
    column = labels[:, None]
    own = logits.gather(1, column).squeeze(1)
    return own - logits.scatter(1, column, -float("inf")).amax(1)


def ranked_targets(logits: Tensor, labels: Tensor, ranks: Tensor) -> Tensor:
    """The class at rank ``ranks`` among the other classes (B,), by descending logit."""
    order = logits.scatter(1, labels[:, None], float("inf")).sort(dim=1).indices
    return order.gather(1, logits.shape[1] - 1 - ranks[:, None]).squeeze(1)

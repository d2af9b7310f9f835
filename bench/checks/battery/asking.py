"""Querying a model: logits, distances between answers, losses and their gradients."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.core.nouns import Precision
from bench.core.numerics import numerics

# Answers that differ by a smaller share of their spread are equal: float32 kernels for other batch shapes round the
# logits of a deep network by about 1e-5 of their spread (measured on the digits ViT: 2e-6).
SAME = 1e-3
_TINY = 1e-30


def ask(model: nn.Module, images: Tensor) -> Tensor:
    """Answers (B, K) to ``images`` (B, C, H, W), float32, without a graph; the model gets a copy of the images."""
    with torch.no_grad(), numerics(Precision.FP32, images.device.type):
        logits: Tensor = model(images.clone())
    return logits.detach().float()


def spread(logits: Tensor) -> Tensor:
    """Largest minus smallest logit of each image, (B,)."""
    return (logits.amax(1) - logits.amin(1)).nan_to_num(0.0)


def apart(a: Tensor, b: Tensor) -> Tensor:
    """Distance between two answers (B, K) as a share of their spread, (B,); a shift common to all logits is ignored.

    An answer that is finite only once is infinitely far.
    """
    if a.shape != b.shape:
        return torch.full((len(a),), torch.inf, device=a.device)
    both = a.isfinite() & b.isfinite()
    odd = (a.isfinite() != b.isfinite()).any(1)
    clean = [torch.where(both, x, torch.zeros_like(x)) for x in (a, b)]
    off = (_centred(clean[0]) - _centred(clean[1])).abs().amax(1)
    size = torch.maximum(spread(clean[0]), spread(clean[1])).clamp(min=_TINY)
    return torch.where(odd, torch.full_like(off, torch.inf), off / size)


def margins(logits: Tensor, labels: Tensor) -> Tensor:
    """The correct logit minus the largest wrong one, (B,): negative where the model is wrong."""
    right = logits.gather(1, labels[:, None]).squeeze(1)
    return right - logits.scatter(1, labels[:, None], -torch.inf).amax(1)


def right(logits: Tensor, labels: Tensor) -> Tensor:
    """Where the prediction is the label, (B,); non-finite answers are wrong."""
    return (logits.argmax(1) == labels) & logits.isfinite().all(1)


def rival(logits: Tensor, labels: Tensor) -> Tensor:
    """The strongest wrong class of each image, (B,)."""
    return logits.scatter(1, labels[:, None], -torch.inf).argmax(1)


def difference(logits: Tensor, labels: Tensor, rivals: Tensor) -> Tensor:
    """The logit of a fixed wrong class minus the correct one, (B,): smooth wherever the model is."""
    return (logits.gather(1, rivals[:, None]) - logits.gather(1, labels[:, None])).squeeze(1)


def slope(model: nn.Module, images: Tensor, labels: Tensor, rivals: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (B, K), and the gradients of difference and cross-entropy, (B, C, H, W) each.

    A gradient is infinite everywhere if the output has no graph that reaches the images.
    """
    x = images.clone().requires_grad_()
    with torch.enable_grad(), numerics(Precision.FP32, images.device.type):
        logits = model(x).float()
        losses = (difference(logits, labels, rivals), nn.functional.cross_entropy(logits, labels, reduction="none"))
        found = [_gradient(loss, x) for loss in losses]
    return logits.detach(), found[0], found[1]


def _gradient(loss: Tensor, x: Tensor) -> Tensor:
    missing = torch.full_like(x, torch.inf)
    if not loss.requires_grad:
        return missing
    (gradient,) = torch.autograd.grad(loss.sum(), x, retain_graph=True, allow_unused=True)
    return missing if gradient is None else gradient.detach()


def length(x: Tensor) -> Tensor:
    """The l2 length of each image, (B,)."""
    out: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1)
    return out


def tall(values: Tensor) -> Tensor:
    """One value for each image, (B,) to (B, 1, 1, 1)."""
    return values.view(-1, 1, 1, 1)


def _centred(logits: Tensor) -> Tensor:
    return logits - logits.mean(1, keepdim=True)

"""The judge: predictions of the target, measured in float32. It trusts nothing that an attack reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.core.ball import allowance, distance
from bench.core.budget import Budget
from bench.core.errors import InputError, ShapeError
from bench.core.nouns import Batch, Outcome, Precision, Verdict
from bench.core.numerics import numerics

if TYPE_CHECKING:
    from bench.core.nouns import Model

# Every forward of the judge has the same number of images, the last one padded, so that verdicts do not depend on how
# kernels round for another batch shape. A profile may set another number; it is part of the Spec.
_ROWS = 64


def judge(target: Model, batch: Batch, x_adv: Tensor, budget: Budget, rows: int = _ROWS) -> list[Verdict]:
    """Decide for each image whether the target was fooled within the budget.

    Trusts nothing the attack reports: distance and label are measured again here, in float32, on the target. A
    candidate that is not finite, leaves [0, 1] or is farther than ``eps`` (beyond float32 rounding) is INVALID,
    whatever the target predicts.

    Args:
        target: Deployed model; images (B, C, H, W) in [0, 1] to logits (B, K).
        batch: Clean images with labels (B,) and ids.
        x_adv: Candidates, same shape and dtype as ``batch.images``.
        budget: Norm and radius; ``eps`` is on the [0, 1] pixel scale (4/255, not 4).
        rows: Images per forward, the last one padded.

    Returns:
        B verdicts in batch order.

    Raises:
        ShapeError: if ``x_adv`` differs from ``batch.images`` in shape or dtype.
        InputError: if the target answers with anything else than logits.

    Source: robust accuracy as in RobustBench, arXiv:2010.09670, with the budget check made explicit.
    """
    clean = batch.images
    if x_adv.shape != clean.shape or x_adv.dtype != clean.dtype:
        raise ShapeError(
            f"candidates are {tuple(x_adv.shape)} {x_adv.dtype}; expected {tuple(clean.shape)} {clean.dtype}"
        )
    flat = x_adv.flatten(1)
    finite = flat.isfinite().all(1)
    far = distance(x_adv, clean, budget.norm)
    inside = (far <= budget.radius + allowance(budget, flat.shape[1])) & (flat.amin(1) >= 0) & (flat.amax(1) <= 1)
    valid = (finite & inside).tolist()
    before = predict(target, clean, rows)
    after = predict(target, torch.where(finite.view(-1, 1, 1, 1), x_adv, clean), rows)
    labels, measured, usable = batch.labels.tolist(), far.tolist(), finite.tolist()
    return [
        Verdict(
            _outcome(valid[i], before[i] == labels[i], after[i] == labels[i]),
            before[i],
            after[i] if usable[i] else None,
            measured[i] if usable[i] else None,
        )
        for i in range(len(batch))
    ]


def predict(model: Model, images: Tensor, rows: int = _ROWS) -> list[int | None]:
    """Predicted class of each image, None if a logit is not finite; float32, fixed batch shape.

    Raises:
        InputError: if the model answers with anything else than logits.
    """
    out: list[int | None] = []
    with torch.no_grad(), numerics(Precision.FP32, images.device.type):
        for chunk in images.split(rows):
            padding = chunk[-1:].expand(rows - len(chunk), *chunk.shape[1:])
            logits = _logits(model(torch.cat([chunk, padding])), rows)[: len(chunk)]
            usable = logits.isfinite().all(1).tolist()
            out += [p if ok else None for p, ok in zip(logits.argmax(1).tolist(), usable, strict=True)]
    return out


def _logits(out: object, rows: int) -> Tensor:
    """What a model answered, if it is logits."""
    if isinstance(out, Tensor) and out.shape[:1] == (rows,) and out.dim() == 2 and out.is_floating_point():
        return out
    got = f"a {out.dtype} tensor of shape {tuple(out.shape)}" if isinstance(out, Tensor) else f"a {type(out).__name__}"
    raise InputError(f"the model answers {rows} images with {got}; expected logits: a floating-point tensor of shape "
                     f"({rows}, classes)")  # fmt: skip


def _outcome(valid: bool, right_before: bool, right_after: bool) -> Outcome:
    if not valid:
        return Outcome.INVALID
    if not right_before:
        return Outcome.MISCLASSIFIED
    return Outcome.ROBUST if right_after else Outcome.FOOLED

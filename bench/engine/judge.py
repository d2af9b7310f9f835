"""The judge: predictions of the target, measured in float32. It trusts nothing that an attack reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.core.ball import allowance, distance
from bench.core.budget import Budget
from bench.core.errors import ShapeError
from bench.core.logits import padded
from bench.core.nouns import Batch, Outcome, Verdict
from bench.engine.answering import Answering, AnsweringHere, predictions

if TYPE_CHECKING:
    from bench.core.nouns import Model

# Every forward of the judge has the same number of images, the last one padded, so that verdicts do not depend on how
# kernels round for another batch shape. A profile may set another number; it is part of the Spec.
_ROWS = 64


@dataclass(frozen=True)
class Judged:
    """Verdicts in batch order, and the logits (B, K) that they come from: at the clean images, at the candidates.

    ``more`` are the logits of further versions of the images, which decide no verdict.
    """

    verdicts: list[Verdict]
    clean: Tensor
    adversarial: Tensor
    more: list[Tensor]


@dataclass(frozen=True)
class Measured:
    """Candidates as measured: distances (B,), whether all values are finite (B,), whether each is within the budget."""

    far: Tensor
    finite: Tensor
    valid: list[bool]


def judge(target: Model, batch: Batch, x_adv: Tensor, budget: Budget, rows: int = _ROWS) -> list[Verdict]:
    """The verdicts of :func:`decide` on a model of this process.

    Args:
        target: Deployed model; images (B, C, H, W) in [0, 1] to logits (B, K).
        batch: Clean images with labels (B,) and ids.
        x_adv: Candidates, same shape and dtype as ``batch.images``.
        budget: Norm and radius; ``eps`` is on the [0, 1] pixel scale (4/255, not 4).
        rows: Images per forward, the last one padded.
    """
    return decide(AnsweringHere(target, rows), batch, x_adv, budget).verdicts


def measure(batch: Batch, x_adv: Tensor, budget: Budget) -> Measured:
    """Distance and validity of candidates.

    Raises:
        ShapeError: if ``x_adv`` differs from ``batch.images`` in shape or dtype.
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
    return Measured(far, finite, (finite & inside).tolist())


def decide(target: Answering, batch: Batch, x_adv: Tensor, budget: Budget, more: Sequence[Tensor] = ()) -> Judged:
    """Decide for each image whether the target was fooled within the budget.

    Trusts nothing the attack reports: distance and label are measured again here, in float32, on the target. A
    candidate that is not finite, leaves [0, 1] or is farther than ``eps`` (beyond float32 rounding) is INVALID,
    whatever the target predicts.

    Args:
        target: The deployed model, in this process or in one of its own.
        batch: Clean images with labels (B,) and ids.
        x_adv: Candidates, same shape and dtype as ``batch.images``.
        budget: Norm and radius; ``eps`` is on the [0, 1] pixel scale (4/255, not 4).
        more: Further versions of the images (B, C, H, W), asked of the target together with the two.

    Raises:
        ShapeError: if ``x_adv`` differs from ``batch.images`` in shape or dtype.
        InputError: if the target answers with anything else than logits.

    Source: robust accuracy as in RobustBench, arXiv:2010.09670, with the budget check made explicit.
    """
    found, clean = measure(batch, x_adv, budget), batch.images
    candidates = torch.where(found.finite.view(-1, 1, 1, 1), x_adv, clean)
    first, second, *rest = target.answers([clean, candidates, *more])
    before, after = predictions(first), predictions(second)
    labels, valid, measured, usable = batch.labels.tolist(), found.valid, found.far.tolist(), found.finite.tolist()
    verdicts = [
        Verdict(
            _outcome(valid[i], before[i] == labels[i], after[i] == labels[i]),
            before[i],
            after[i] if usable[i] else None,
            measured[i] if usable[i] else None,
        )
        for i in range(len(batch))
    ]
    return Judged(verdicts, first, second, rest)


def predict(model: Model, images: Tensor, rows: int = _ROWS) -> list[int | None]:
    """Predicted class of each image, None if a logit is not finite; float32, fixed batch shape.

    Raises:
        InputError: if the model answers with anything else than logits.
    """
    return predictions(padded(model, images, rows)) if len(images) else []


def _outcome(valid: bool, right_before: bool, right_after: bool) -> Outcome:
    if not valid:
        return Outcome.INVALID
    if not right_before:
        return Outcome.MISCLASSIFIED
    return Outcome.ROBUST if right_after else Outcome.FOOLED

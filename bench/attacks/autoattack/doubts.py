"""Signs that an attack's failure is unreliable, as AutoAttack warns of them (arXiv:2003.01690)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.attacks.autoattack.batching import attempt
from bench.core.cost import Meter

if TYPE_CHECKING:
    from bench.core.nouns import Model

# Images to check; two calls on two images cost little compared with the first step of an attack.
_LOOKED_AT = 2
# Significant differences, as in the official package: of logits scaled to length 1, of probabilities, of robust
# accuracy.
_RANDOM, _PROBABILITY, _GAIN = 1e-4, 1e-5, 0.002


def doubts_of_model(model: Model, images: Tensor, *, averaged: bool) -> list[str]:
    """Signs that the model is randomised or returns probabilities, on the first of ``images`` (B, C, H, W).

    Args:
        model: The source.
        images: Clean images.
        averaged: Whether the attack averages gradients, as it should for a randomised model.
    """
    with torch.no_grad():
        twice = attempt(lambda: [model(images[:_LOOKED_AT]).float() for _ in range(2)])
    if twice is None:
        return []
    one, other = (logits / (logits.norm(dim=1, keepdim=True) + 1e-10) for logits in twice)
    said = []
    if not averaged and float((one - other).norm(dim=1).max()) > _RANDOM:
        said.append("the source is randomised; expected --set attack.version=rand, which averages gradients")
    sums, low, high = (twice[0].sum(1) - 1).abs(), twice[0].min(), twice[0].max()
    if bool(sums.max() < _PROBABILITY) and bool(low > -_PROBABILITY) and bool(high < 1 + _PROBABILITY):
        said.append("the output is a probability distribution; expected logits, whose gradients do not vanish")
    return said


def doubts_of_search(meters: dict[str, Meter], images: int) -> list[str]:
    """Signs of masked gradients in the meters of the attacks on ``images`` images."""
    said = [
        f"{name}: the gradient is zero at {meter.flat} images of its first batch, so it had nothing to follow"
        for name, meter in meters.items()
        if meter.flat
    ]
    before = [name for name in meters if name not in ("clean", "square")]
    if before and "square" in meters and meters["square"].fooled > _GAIN * images:
        said.append(
            f"square fooled {meters['square'].fooled} images that {', '.join(before)} left robust: gradients may be "
            "masked, and a stronger query attack may fool more"
        )
    return said

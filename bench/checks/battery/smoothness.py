"""Checks whether the loss follows the gradient, and whether the output is continuous."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.checks.battery.asking import apart, ask, difference, length, spread, tall
from bench.checks.battery.draws import edge, reach, signs
from bench.checks.battery.exact import more_than
from bench.checks.battery.finding import Finding, graded, skipped
from bench.checks.battery.lab import Lab

# Steps along the gradient, as the share of the logits' spread that they should gain to first order; a rise is as
# predicted between half and twice that.
_GAINS = (1e-3, 3e-3, 1e-2, 3e-2)
_LOW, _HIGH = 0.5, 2.0
# Random directions for comparing measured and predicted differences, and the minimum correlation of an image.
_DIRECTIONS, _AGREES = 8, 0.8
# Share of a smooth model's images that may violate either rule.
_BROKEN = 0.1
# Halvings of a segment, and the remaining share of the first change: a smooth model keeps about 2**-12 (2e-4), rounding
# about 1e-3; a model with many jumps (k-WTA, a quantised image) keeps a tenth.
_HALVINGS, _LEFT = 12, 0.02


def check_rise(lab: Lab) -> Finding:
    """Compare steps of several sizes along the gradient, and differences along random directions, with first order.

    Source: Pintor et al., arXiv:2106.09947 (indicators of failure); Athalye et al., arXiv:1802.00420.
    """
    logits, gradient = lab.slope_nearby
    usable = gradient.flatten(1).isfinite().all(1) & (length(gradient) > 0)
    total = int(usable.sum())
    if total == 0:
        return skipped("rise", "no image has a usable gradient (see the check of the gradient)")
    gradient = gradient.nan_to_num(0.0, 0.0, 0.0)
    broken = usable & ~(_follows(lab, logits, gradient) & _agrees(lab, gradient))
    count, helps = int(broken.sum()), lab.helped
    useless = int((usable & ~helps).sum())
    what = (f"small steps do not change the loss as the gradient predicts at {count} of {total} images, and a step of "
            f"eps along it is no better than random at {useless}")  # fmt: skip
    fail = more_than(count, total, _BROKEN) or more_than(useless, total, 0.5)
    tail = "the gradient does not describe the model" if count or useless else "the gradient describes the model"
    return lab.declared(graded("rise", count / total, f"{what}: {tail}", fail=fail, warn=count > _BROKEN * total))


def check_jumps(lab: Lab) -> Finding:
    """Halve a segment from the image to a random point of its ball, towards the larger change of the output.

    The change that remains is a jump: a continuous model's change halves with the segment.

    Source: Xiao et al., arXiv:1905.10510 (k-WTA is discontinuous); Tramer et al., arXiv:2002.08347, section 5.
    """
    near, far = lab.batch.images, edge(lab.seed, lab.batch, "jump", lab.local)
    one, other = ask(lab.model, near), ask(lab.model, far)
    first, size = apart(one, other), torch.maximum(spread(one), spread(other))
    moved = first > 0
    total = int(moved.sum())
    if total == 0:
        return graded("jumps", 0.0, "the output is exactly constant inside the ball around every image", fail=True)
    for _ in range(_HALVINGS):
        middle = (near + far) / 2
        logits = ask(lab.model, middle)
        left = _raw(one, logits) >= _raw(logits, other)
        near, far = torch.where(tall(left), near, middle), torch.where(tall(left), middle, far)
        one, other = torch.where(left[:, None], one, logits), torch.where(left[:, None], logits, other)
    kept = (_raw(one, other) / (first * size).clamp(min=1e-30))[moved]
    count, figure = int((kept > _LEFT).sum()), float(kept.median())
    what = (f"a segment of the ball cut 2**{_HALVINGS} times keeps {figure:.2g} of the change of the output in the "
            f"median image, and more than {_LEFT} at {count} of {total}")  # fmt: skip
    tail = "the output jumps, so gradients do not predict larger steps" if count else "the output is continuous"
    fail = more_than(count, total, _BROKEN)
    return lab.declared(graded("jumps", figure, f"{what}: {tail}", fail=fail, warn=count > 0))


def _follows(lab: Lab, logits: Tensor, gradient: Tensor) -> Tensor:
    """Whether at least half of the steps rise as predicted, (B,)."""
    start, labels, rivals = lab.jittered, lab.batch.labels, lab.rivals
    before, size = difference(logits, labels, rivals), length(gradient).clamp(min=1e-30)
    good = torch.zeros(len(start), device=start.device)
    for gain in _GAINS:
        step = tall(gain * spread(logits) / size**2) * gradient
        there = (start + step).clamp(0, 1)
        promised = ((there - start) * gradient).flatten(1).sum(1)
        rise = difference(ask(lab.model, there), labels, rivals) - before
        ratio = rise / promised.clamp(min=1e-30)
        good += ((ratio > _LOW) & (ratio < _HIGH)).float()
    return good >= len(_GAINS) / 2


def _agrees(lab: Lab, gradient: Tensor) -> Tensor:
    """Whether differences along random directions match the gradient's prediction, up to scale, (B,)."""
    labels, rivals = lab.batch.labels, lab.rivals
    promised, measured = [], []
    for index in range(_DIRECTIONS):
        step = 0.1 * reach(lab.jittered, lab.local) * signs(lab.seed, lab.batch, f"direction {index}")
        up, down = (lab.jittered + step).clamp(0, 1), (lab.jittered - step).clamp(0, 1)
        values = [difference(ask(lab.model, x), labels, rivals) for x in (up, down)]
        measured.append(values[0] - values[1])
        promised.append(((up - down) * gradient).flatten(1).sum(1))
    a, b = torch.stack(promised, 1).double(), torch.stack(measured, 1).double()
    return torch.nn.functional.cosine_similarity(a, b, dim=1, eps=1e-30) > _AGREES


def _raw(a: Tensor, b: Tensor) -> Tensor:
    """Distance between two answers, in logits, (B,)."""
    off = (a - b).nan_to_num(0.0)
    return (off - off.mean(1, keepdim=True)).abs().amax(1)

"""Checks whether the loss follows the gradient, and whether the output is continuous."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bench.checks.battery.asking import apart, ask, difference, length, spread, tall
from bench.checks.battery.draws import edge, reach, signs
from bench.checks.battery.exact import more_than
from bench.checks.battery.finding import Finding, graded, skipped
from bench.checks.battery.lab import Lab
from bench.core.ball import project

# Steps along the gradient, as the share of the logits' spread that they should gain to first order; a rise is as
# predicted between half and twice that.
_GAINS = (1e-3, 3e-3, 1e-2, 3e-2)
_LOW, _HIGH = 0.5, 2.0
# Random directions for comparing measured and predicted differences, and the minimum correlation of an image.
_DIRECTIONS, _AGREES = 8, 0.8
# Share of a smooth model's images that may violate either rule.
_BROKEN = 0.1
# Share of images at which a step of eps along the gradient may be no better than random ones.
_USELESS = 0.3
# Halvings of a segment, and the remaining share of the first change: a smooth model keeps about 2**-10 (1e-3), a model
# with many jumps (k-WTA, a quantised image) a tenth.
_HALVINGS, _LEFT = 10, 0.02
# A remaining change up to so many times the rounding of the answers is not a jump. Where rounding is above a share of
# the spread (float32: 1e-6, bfloat16: 2e-3), steps are so many times larger.
_ROUNDED, _COARSE, _LARGER = 8.0, 3e-4, 8.0


def check_rise(lab: Lab) -> Finding:
    """Compare steps of several sizes along the gradient, and differences along random directions, with first order.

    Measured near the image, and where the gradient attack stops making progress: a gradient can be honest far from the
    decision boundary and wrong beside it.

    Source: Pintor et al., arXiv:2106.09947 (indicators of failure); Athalye et al., arXiv:1802.00420.
    """
    _, gradient = lab.slope_nearby
    usable = _usable(gradient)
    total = int(usable.sum())
    if total == 0:
        return skipped("rise", "no image has a usable gradient (see the check of the gradient)")
    broken, there, name = usable & ~_described(lab, lab.jittered, _DIRECTIONS), total, ""
    late = _usable(lab.slope_last[1])
    at_last = late & ~_described(lab, lab.last_right, _DIRECTIONS // 2)
    if int(at_last.sum()) * total > int(broken.sum()) * max(int(late.sum()), 1):
        broken, there, name = at_last, int(late.sum()), " where the attack stops"
    count, useless = int(broken.sum()), int((usable & ~lab.helped).sum())
    what = (f"small steps{name} do not change the loss as the gradient predicts at {count} of {there} images, and a "
            f"step of eps along it is no better than random at {useless} of {total}")  # fmt: skip
    fail = more_than(count, there, _BROKEN) or more_than(useless, total, _USELESS)
    warn = count > _BROKEN * there or useless > _BROKEN * total
    tail = "the gradient does not describe the model" if fail or warn else "the gradient describes the model"
    return lab.declared(graded("rise", count / there, f"{what}: {tail}", fail=fail, warn=warn))


def check_jumps(lab: Lab) -> Finding:
    """Halve segments of the ball, towards the larger change of the output.

    One leads from each image to a random corner, one towards the nearest image of another class. The change that
    remains is a jump: a continuous model's change halves with the segment. What a half-precision model rounds is not
    a jump.

    Source: Xiao et al., arXiv:1905.10510 (k-WTA is discontinuous); Tramer et al., arXiv:2002.08347, section 5.
    """
    ends = [edge(lab.seed, lab.batch, "jump", lab.local), project(lab.towards, lab.batch.images, lab.local)]
    near, far = torch.cat([lab.batch.images] * len(ends)), torch.cat(ends)
    one, other = ask(lab.model, near), ask(lab.model, far)
    first, size = apart(one, other), torch.maximum(spread(one), spread(other))
    total = len(lab.batch)
    if not bool((first > 0).any()):
        return graded("jumps", 0.0, "the output is exactly constant inside the ball around every image", fail=True)
    for _ in range(_HALVINGS):
        middle = (near + far) / 2
        logits = ask(lab.model, middle)
        left = _raw(one, logits) >= _raw(logits, other)
        near, far = torch.where(tall(left), near, middle), torch.where(tall(left), middle, far)
        one, other = torch.where(left[:, None], one, logits), torch.where(left[:, None], logits, other)
    left_over = _raw(one, other)
    kept = left_over / (first * size).clamp(min=1e-30)
    odd = (kept > _LEFT) & (left_over > _ROUNDED * lab.rounding * size)
    count = int(odd.view(len(ends), -1).any(0).sum())
    figure = float(kept[first > 0].median())
    what = (f"segments of the ball cut 2**{_HALVINGS} times keep {figure:.2g} of the change of the output in the "
            f"median image, and more than {_LEFT} at {count} of {total}")  # fmt: skip
    if lab.rounding > _COARSE:
        what += f", apart from rounding ({lab.rounding:.1g} of the spread)"
    tail = "the output jumps, so gradients do not predict larger steps" if count else "the output is continuous"
    fail = more_than(count, total, _BROKEN)
    return lab.declared(graded("jumps", figure, f"{what}: {tail}", fail=fail, warn=count > 0))


def _usable(gradient: Tensor) -> Tensor:
    return gradient.flatten(1).isfinite().all(1) & (length(gradient) > 0)


def _described(lab: Lab, points: Tensor, directions: int) -> Tensor:
    """Whether the gradient at ``points`` predicts small steps along it, and differences in random directions, (B,)."""
    logits, gradient = lab.slope_nearby if points is lab.jittered else lab.slope_last
    gradient = gradient.nan_to_num(0.0, 0.0, 0.0)
    return _follows(lab, points, logits, gradient) & _agrees(lab, points, gradient, directions)


def _follows(lab: Lab, start: Tensor, logits: Tensor, gradient: Tensor) -> Tensor:
    """Whether at least half of the steps rise as predicted, (B,)."""
    labels, rivals = lab.batch.labels, lab.rivals
    before, size = difference(logits, labels, rivals), length(gradient).clamp(min=1e-30)
    good = torch.zeros(len(start), device=start.device)
    for gain in _gains(lab):
        step = tall(gain * spread(logits) / size**2) * gradient
        there = (start + step).clamp(0, 1)
        promised = ((there - start) * gradient).flatten(1).sum(1)
        rise = difference(ask(lab.model, there), labels, rivals) - before
        ratio = rise / promised.clamp(min=1e-30)
        good += ((ratio > _LOW) & (ratio < _HIGH)).float()
    return good >= len(_GAINS) / 2


def _gains(lab: Lab) -> Sequence[float]:
    return [max(gain, _LARGER * 2 * lab.rounding) for gain in _GAINS] if lab.rounding > _COARSE else _GAINS


def _agrees(lab: Lab, start: Tensor, gradient: Tensor, directions: int) -> Tensor:
    """Whether differences along random directions match the gradient's prediction, up to scale, (B,)."""
    labels, rivals = lab.batch.labels, lab.rivals
    promised, measured = [], []
    far = 0.1 * (_LARGER if lab.rounding > _COARSE else 1.0)
    for index in range(directions):
        step = far * reach(start, lab.local) * signs(lab.seed, lab.batch, f"direction {index}")
        up, down = (start + step).clamp(0, 1), (start - step).clamp(0, 1)
        values = [difference(ask(lab.model, x), labels, rivals) for x in (up, down)]
        measured.append(values[0] - values[1])
        promised.append(((up - down) * gradient).flatten(1).sum(1))
    a, b = torch.stack(promised, 1).double(), torch.stack(measured, 1).double()
    return torch.nn.functional.cosine_similarity(a, b, dim=1, eps=1e-30) > _AGREES


def _raw(a: Tensor, b: Tensor) -> Tensor:
    """Distance between two answers, in logits, (B,)."""
    off = (a - b).nan_to_num(0.0)
    return (off - off.mean(1, keepdim=True)).abs().amax(1)

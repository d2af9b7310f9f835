"""Checks whether robustness belongs to the images as they are, or stops just beyond eps: signs of remembered images."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import torch
from torch import Tensor

from bench.checks.battery.asking import ask, right
from bench.checks.battery.attacking import white_box
from bench.checks.battery.draws import pixels
from bench.checks.battery.finding import Finding, graded, passed, skipped
from bench.checks.battery.lab import Lab
from bench.checks.chance import one_sided
from bench.core.nouns import Batch

# A harmless move: a turn by at most so many degrees and a shift by about one pixel along each side.
_DEGREES, _LEAST, _MOST = 2.0, 0.6, 1.2
# Robustness on moved copies fails below this share of that on the images as they are, and by at least so many points,
# in addition to significance. An honest network that was trained without augmentation keeps about half.
_KEPT, _POINTS = 0.35, 0.25
# Radii of the attack in eps, beyond and below. An honest model falls about as much from the one to eps as from eps to
# the other: it fails if more than the first share of the standing images falls beyond eps, and no more than the
# second below.
_BEYOND, _BELOW = 1.25, 0.8
_ALL, _FEW = 0.6, 0.2


def check_moved(lab: Lab) -> Finding:
    """The same attack on copies that are turned and shifted a little: a model has not seen those, whatever it has seen.

    Images count if they are classified correctly both as they are and moved.
    """
    standing = lab.right & ~lab.margin_fooled
    if not bool(standing.any()):
        return passed("moved copies", 0.0, "no image withstands the attack, so no robustness can be due to the images")
    images = moved(lab.seed, lab.batch)
    copies = Batch(lab.batch.ids, images, lab.batch.labels)
    sure = lab.right & right(ask(lab.model, images), lab.batch.labels)
    total = int(sure.sum())
    if total == 0:
        return skipped("moved copies", "no image is classified correctly both as it is and moved")
    x = white_box(lab.model, copies, lab.budget, lab.seed, lab.effort, "margin")
    there = sure & right(ask(lab.model, x), lab.batch.labels)
    here = sure & standing
    gap = (int(here.sum()) - int(there.sum())) / total
    few = int(there.sum()) < _KEPT * int(here.sum())
    fail = few and gap > _POINTS and one_sided(int((here & ~there).sum()), int((there & ~here).sum()))
    what = (f"of {total} images that are classified correctly as they are and moved by about a pixel, "
            f"{int(here.sum())} withstand the attack as they are, {int(there.sum())} moved")  # fmt: skip
    tail = "robustness does not depend on the place"
    if fail:
        tail = "robustness belongs to these very images, which the model remembers"
    elif gap > _POINTS:
        tail = "robustness depends on the place, but is not only that of remembered images"
    return graded("moved copies", gap, f"{what}: {tail}", fail=fail, warn=few and gap > _POINTS)


def check_beyond(lab: Lab) -> Finding:
    """The same attack slightly beyond eps: an honest model's robustness decreases gradually.

    Source: Carlini et al., arXiv:1902.06705, section 4 (accuracy over a range of eps).
    """
    standing = lab.right & ~lab.margin_fooled
    total = int(standing.sum())
    if total == 0:
        return passed("beyond eps", 0.0, "no image withstands the attack, so there is nothing to lose beyond eps")
    beyond = standing & ~_withstands(lab, _BEYOND)
    share = int(beyond.sum()) / total
    what = f"of {total} images that withstand the attack at eps, {int(beyond.sum())} are fooled at {_BEYOND} eps"
    if share <= _ALL:
        return graded("beyond eps", share, f"{what}: robustness decreases gradually", fail=False)
    below = lab.right & ~standing & _withstands(lab, _BELOW)
    fail = int(below.sum()) <= _FEW * total and one_sided(int(beyond.sum()), int(below.sum()))
    what = f"{what}, while {int(below.sum())} that are fooled at eps withstand {_BELOW} eps"
    tail = "robustness ends just beyond eps, as if the model knew eps" if fail else "it decreases as steeply below eps"
    return graded("beyond eps", share, f"{what}: {tail}", fail=fail)


def moved(seed: int, batch: Batch) -> Tensor:
    """Copies of the images, each turned by up to 2 degrees and shifted by about a pixel, edges repeated."""
    draws = pixels(seed, batch, "moved", 4)
    side = torch.tensor([batch.images.shape[-1], batch.images.shape[-2]]).to(draws)
    shift = torch.where(draws[:, :2] < 0, -1.0, 1.0) * (_LEAST + (_MOST - _LEAST) * draws[:, :2].abs()) * 2 / side
    angle = draws[:, 2] * math.radians(_DEGREES)
    turn = torch.stack([torch.stack([angle.cos(), -angle.sin()], 1), torch.stack([angle.sin(), angle.cos()], 1)], 1)
    grid = torch.nn.functional.affine_grid(
        torch.cat([turn, shift[:, :, None]], 2), list(batch.images.shape), align_corners=False
    )
    out = torch.nn.functional.grid_sample(batch.images, grid, padding_mode="border", align_corners=False)
    return out.clamp(0, 1)


def _withstands(lab: Lab, factor: float) -> Tensor:
    """Correct images that withstand the attack at a multiple of eps, (B,)."""
    budget = replace(lab.budget, eps=lab.budget.eps * Fraction(factor).limit_denominator(100))
    x = white_box(lab.model, lab.batch, budget, lab.seed, lab.effort, "margin")
    return lab.right & right(ask(lab.model, x), lab.batch.labels)

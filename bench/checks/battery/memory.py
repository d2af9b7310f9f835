"""Checks whether the model was trained on its test images."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.checks.battery.asking import ask, margins, right, spread
from bench.checks.battery.attacking import white_box
from bench.checks.battery.exact import better, rank
from bench.checks.battery.finding import Finding, graded, skipped
from bench.checks.battery.lab import Lab
from bench.checks.chance import LEVEL
from bench.core.nouns import Batch

# Minimum effects, in addition to significance: the probability that a test image beats a training image, and points
# of robust accuracy.
_ODDS, _POINTS = 0.7, 0.15
_CONFIDENT = "more confident on a test image than on"
_SENSITIVE = "more sensitive to a shift of a test image than of"


def check_memory(lab: Lab, *, attack: bool = True) -> Finding:
    """Compare test with training images: margin, its loss under a one-pixel shift, robustness to one attack.

    A model is at least as good on its training images as on unseen images. It can be better on the test images only if
    it was trained on them.
    """
    batch, fresh = lab.batch, lab.subject.fresh
    own, own_drop = _margins(lab, batch)
    if fresh is None:
        return skipped("memory", "no training images are available for comparison with the test images")
    theirs, their_drop = _margins(lab, fresh)
    signs = {_CONFIDENT: rank(own, theirs)}
    if signs[_CONFIDENT][0] > 0.5:  # a model that has memorised its training images is more sensitive on others
        signs[_SENSITIVE] = rank(own_drop, their_drop)
    name = max(signs, key=lambda n: signs[n][0])
    odds = signs[name][0]
    fail = any(chance > _ODDS and p < LEVEL / 2 for chance, p in signs.values())
    what = f"in {odds:.0%} of pairs the target is {name} a training image"
    if attack and not fail:
        robust, other = _robust(lab)
        what = (f"{what}, and {robust[0]} of {robust[1]} correct test images survive the attack that {other[0]} of "
                f"{other[1]} training images survive")  # fmt: skip
        gap = robust[0] / max(robust[1], 1) - other[0] / max(other[1], 1)
        fail = gap > _POINTS and better(*robust, *other)
    tail = "it was trained on the test images" if fail else "it treats test images like unseen ones"
    return graded("memory", odds, f"{what}: {tail}", fail=fail)


def _margins(lab: Lab, batch: Batch) -> tuple[Tensor, Tensor]:
    """Margins as a share of the spread of the logits, and the share lost under a shift by one pixel, (B,)."""
    logits = ask(lab.model, batch.images)
    size = spread(logits).median().clamp(min=1e-30)
    shifted = [margins(ask(lab.model, _shift(batch.images, *to)), batch.labels) for to in ((0, 1), (1, 0))]
    here = margins(logits, batch.labels) / size
    return here, here - torch.stack(shifted).mean(0) / size


def _shift(images: Tensor, down: int, right_by: int) -> Tensor:
    """Images shifted by pixels, with the edge repeated."""
    padded = torch.nn.functional.pad(images, (right_by, 0, down, 0), mode="replicate")
    return padded[..., : images.shape[-2], : images.shape[-1]]


def _robust(lab: Lab) -> tuple[tuple[int, int], tuple[int, int]]:
    """Correct images that survive the same attack, and their total: for test images and training images."""
    fresh = lab.subject.fresh
    if fresh is None:
        raise ValueError("training images are needed")
    sure = right(ask(lab.model, fresh.images), fresh.labels)
    x = white_box(lab.model, fresh, lab.budget, lab.seed, lab.effort, "margin")
    standing = sure & right(ask(lab.model, x), fresh.labels)
    ours = lab.right & ~lab.margin_fooled
    return (int(ours.sum()), int(lab.right.sum())), (int(standing.sum()), int(sure.sum()))

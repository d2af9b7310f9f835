"""Checks whether the output is logits: shape, values, scale."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.checks.battery.asking import right, spread
from bench.checks.battery.finding import Finding, graded, passed
from bench.checks.battery.lab import Lab
from bench.core.nouns import Precision
from bench.core.numerics import numerics

_ONE = 1e-4  # tolerance for probabilities that sum to 1 (float32 and half precision)
# Spread of the logits: ImageNet models have 10 to 30; beyond 1e3 exp underflows for every wrong class.
_LARGE = 1e3
# Spread as a share of the largest logit below which float32 (6e-8) leaves fewer than 10 bits for the differences.
_BURIED = 1e-4


def check_outputs(lab: Lab) -> Finding:
    """Shape (B, classes), finite, more than one value, and not probabilities.

    Source: AutoAttack's checks, arXiv:2003.01690; Carlini et al., arXiv:1902.06705, section 4.
    """
    images, classes = lab.batch.images, lab.subject.classes
    with torch.no_grad(), numerics(Precision.FP32, images.device.type):
        out = lab.subject.target(images.clone())
    if not isinstance(out, Tensor):
        return graded("outputs", None, f"the output is a {type(out).__name__}, not a tensor of logits", fail=True)
    if out.shape != (len(images), classes):
        what = f"the output has shape {tuple(out.shape)}, expected {(len(images), classes)}: {_about(out, classes)}"
        return graded("outputs", None, what, fail=True)
    if not out.is_floating_point():
        return graded("outputs", None, f"the output is {out.dtype}, which has no gradient", fail=True)
    return _values(out.detach().float(), lab)


def usable(finding: Finding) -> bool:
    """Whether other checks can read the output: it has the right shape, whatever its values."""
    return finding.figure is not None


def _values(out: Tensor, lab: Lab) -> Finding:
    name, total = "outputs", len(out)
    odd = int((~out.isfinite().all(1)).sum())
    if odd:
        return graded(name, odd / total, f"the output is not finite at {odd} of {total} images", fail=True)
    kinds = [len(row.unique()) for row in out]
    if max(kinds) <= 2 < out.shape[1]:
        return graded(name, 1.0, "every output has at most two values: the model returns labels, not logits", fail=True)
    if total > 1 and bool((spread(out - out[:1]) == 0).all()):
        return graded(name, 1.0, "all images get the same output: the model does not classify", fail=True)
    sums, low = out.double().sum(1), float(out.min())
    if low >= -_ONE and bool(((sums - 1).abs() < _ONE).all()):
        what = "the output is probabilities: they saturate where the model is confident, and logit losses misread them"
        return graded(name, 1.0, what, fail=True)
    size = float(spread(out).median())
    if size < _BURIED * float(out.abs().median()):
        level = float(out.abs().median())
        what = f"the logits differ by {size:.2g} at a magnitude of {level:.2g}: rounding destroys the differences"
        return graded(name, size, what, fail=True)
    return _mild(out, size, lab)


def _mild(out: Tensor, size: float, lab: Lab) -> Finding:
    name, accuracy = "outputs", float(right(out, lab.batch.labels).float().mean())
    if bool((out.double().exp().sum(1) - 1).abs().max() < _ONE):
        what = "the output is log-probabilities: equivalent to logits for attacks, but logits were expected"
        return graded(name, size, what, fail=False, warn=True)
    if size > _LARGE:
        return graded(name, size, f"the logits' spread is {size:.2g}: softmax is saturated", fail=False, warn=True)
    chance = 1 / lab.subject.classes
    if accuracy <= chance + min(chance, (1 - chance) / 5):  # twice chance, or a fifth of the way from it to 100%
        what = f"the target's accuracy of {accuracy:.0%} is at chance level: there is no accuracy to defend"
        return graded(name, accuracy, what, fail=False, warn=True)
    return passed(name, size, f"finite logits of the data's classes, with a spread of {size:.3g} in the median image")


def _about(out: Tensor, classes: int) -> str:
    if out.dim() != 2:
        return "expected one row of logits per image"
    return "an extra class removes images from the count" if out.shape[1] > classes else "classes are missing"

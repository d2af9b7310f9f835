"""Checks whether there is a usable gradient, and whether cross-entropy's has vanished in float32."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.checks.battery.asking import length, right, slope
from bench.checks.battery.exact import more_than
from bench.checks.battery.finding import Finding, graded, skipped
from bench.checks.battery.lab import Lab

# Share of images on which an honest model may have no gradient (dead units of a ReLU network).
_NONE = 0.02
# Norm of the cross-entropy gradient relative to the margin gradient. Below the first, the probability of the correct
# class rounds to 1 in float32 (2**-24), so that the gradient is half rounding. Below the second, exp underflows
# (2**-126 is 1e-38) for most of its terms and the gradient is unusable.
_ROUNDED, _VANISHED = 2.0**-24, 1e-30
# Share of correctly classified images at which the first causes a warning, and the second a failure.
_SOME = 0.1


def check_gradient(lab: Lab) -> Finding:
    """Images with a zero, missing or non-finite gradient, at the image or at a random point of its ball.

    Source: Athalye et al., arXiv:1802.00420 (shattered gradients); Carlini et al., arXiv:1902.06705, section 4.
    """
    worst, kind = torch.zeros(len(lab.batch), dtype=torch.bool), ""
    for points in (lab.batch.images, lab.jittered):
        _, margin, _ = slope(lab.model, points, lab.batch.labels, lab.rivals)
        flat = margin.flatten(1)
        missing, odd, zero = (flat == torch.inf).all(1), ~flat.isfinite().all(1), (flat == 0).all(1)
        bad = (odd | zero).cpu()
        if int(bad.sum()) > int(worst.sum()):
            worst = bad
            counts = {"missing": int(missing.sum()), "not finite": int((odd & ~missing).sum()), "zero": int(zero.sum())}
            kind = max(counts, key=lambda name: counts[name])
    count, total = int(worst.sum()), len(worst)
    what = f"the gradient of the loss is {kind} at {count} of {total} images, so a gradient attack cannot work there"
    fine = f"the gradient of the loss is finite and nonzero at all of {total} images"
    return graded(
        "gradient", count / total, what if count else fine, fail=more_than(count, total, _NONE), warn=count > 0
    )


def check_saturation(lab: Lab) -> Finding:
    """Compare the cross-entropy gradient with the margin gradient on correctly classified images.

    Source: Carlini and Wagner, arXiv:1608.04644 (saturated softmax); Pintor et al., arXiv:2106.09947.
    """
    logits, margin, entropy = slope(lab.model, lab.batch.images, lab.batch.labels, lab.rivals)
    sure = right(logits, lab.batch.labels) & _usable(margin)
    total = int(sure.sum())
    if total == 0:
        return skipped("saturation", "no correctly classified image has a gradient, so there is no comparison")
    ratio = (length(entropy.nan_to_num(0.0, 0.0, 0.0).double()) / length(margin.double()))[sure]
    vanished, rounded = int((ratio < _VANISHED).sum()), int((ratio < _ROUNDED).sum())
    what = (f"cross-entropy's gradient underflows at {vanished} and is half rounding at {rounded} of {total} correctly "
            "classified images while the margin's does not")  # fmt: skip
    tail = "attacks on cross-entropy see no gradient where one exists" if rounded else "no output is saturated"
    fail = vanished > _SOME * total and more_than(vanished, total, _NONE)
    return graded("saturation", rounded / total, f"{what}: {tail}", fail=fail, warn=rounded > _SOME * total)


def _usable(gradient: Tensor) -> Tensor:
    flat = gradient.flatten(1)
    return flat.isfinite().all(1) & (flat != 0).any(1)

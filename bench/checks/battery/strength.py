"""Checks whether the gradient attack is sufficiently strong."""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor

from bench.checks.battery.asking import ask, right
from bench.checks.battery.attacking import white_box
from bench.checks.battery.exact import more_than
from bench.checks.battery.finding import Finding, graded, skipped
from bench.checks.battery.lab import Lab
from bench.checks.chance import one_sided
from bench.core.budget import Budget, Norm

# Share of images on which a query attack may succeed by luck where the gradient attack on an honest model does not.
_LUCK = 0.02
# Share of images that may survive at eps 0.5: a fixed number of steps misses a few, and every image can become grey.
_STANDING = 0.05
_WIDE = Fraction(1, 2)  # the l-inf radius at which every image can become plain grey
_LONG = 40  # steps of the last attempt on what is left of it
# Points by which one gradient attack may lag behind another, in addition to significance.
_LAG = 0.1


def check_black_box(lab: Lab) -> Finding:
    """Images that queries, transfer or random noise fool and the white-box gradient attack does not.

    Source: Athalye et al., arXiv:1802.00420; Carlini et al., arXiv:1902.06705, section 4.
    """
    total = int(lab.right.sum())
    if total == 0:
        return skipped("black-box", "the target is correct on no image, so there is nothing to attack")
    found = {"queries": lab.square_fooled, "random noise": lab.noise_fooled}
    found |= {f"transfer ({name})": lab.transfer_fooled(name) for name in lab.subject.substitutes}
    beyond = {name: fooled & ~lab.white_fooled for name, fooled in found.items()}
    any_of = torch.stack(list(beyond.values())).any(0)
    count, white = int(any_of.sum()), int(lab.white_fooled.sum())
    best = max(beyond, key=lambda name: int(beyond[name].sum()))
    what = (f"of {total} correct images the white-box attack fools {white}; gradient-free attacks fool {count} of the "
            "others")  # fmt: skip
    tail = f"most of them by {best}: the gradient is masked" if count else "there is no sign of a masked gradient"
    return graded("black-box", count / total, f"{what}; {tail}", fail=more_than(count, total, _LUCK), warn=count > 0)


def check_large_eps(lab: Lab) -> Finding:
    """The gradient attack where every image can become plain grey: accuracy must reach 0.

    Source: Carlini et al., arXiv:1902.06705, section 4; Athalye et al., arXiv:1802.00420.
    """
    total = int(lab.right.sum())
    if total == 0:
        return skipped("large eps", "the target is correct on no image, so there is nothing to attack")
    budget = Budget(Norm.LINF, _WIDE)
    standing = lab.right.clone()
    for loss, steps in (("margin", lab.effort.steps), ("cross-entropy", lab.effort.steps), ("margin", _LONG)):
        if bool(standing.any()):
            x = white_box(lab.model, lab.batch, budget, lab.seed, lab.effort, loss, steps)
            standing &= right(ask(lab.model, x), lab.batch.labels)
    count = int(standing.sum())
    what = f"at {budget.norm} {budget.radius:.3g}, where every image can become plain grey, {count} of {total} survive"
    tail = "the attack does not follow the model" if count else "accuracy reaches 0 as expected"
    fail = more_than(count, total, _STANDING)
    return graded("large eps", count / total, f"{what}: {tail}", fail=fail, warn=count > _LUCK * total)


def check_losses(lab: Lab) -> Finding:
    """The gradient attack on cross-entropy against the one on the margin, and a short one against a long one.

    Source: Pintor et al., arXiv:2106.09947; Croce and Hein, arXiv:2003.01690.
    """
    total = int(lab.right.sum())
    if total == 0:
        return skipped("losses", "the target is correct on no image, so there is nothing to attack")
    x = white_box(lab.model, lab.batch, lab.budget, lab.seed, lab.effort, "margin", lab.effort.few)
    short = lab.right & ~right(ask(lab.model, x), lab.batch.labels)
    pairs = {
        "the margin fools images that cross-entropy does not": (lab.margin_fooled, lab.entropy_fooled),
        "few steps fool images that many do not": (short, lab.margin_fooled),
    }
    worst, said, fail = 0.0, "loss and number of steps make no difference", False
    for name, (one, other) in pairs.items():
        lag = (int(one.sum()) - int(other.sum())) / total
        behind = lag > _LAG and one_sided(*_discordant(one, other))
        if behind and lag > worst:
            worst, said, fail = lag, f"{name}, {lag:.0%} more: the gradient of one of them is masked", True
    return graded("losses", worst, said, fail=fail)


def _discordant(one: Tensor, other: Tensor) -> tuple[int, int]:
    return int((one & ~other).sum()), int((other & ~one).sum())

"""Checks whether an image always gets the same answer: on repetition, in another batch, with and without gradients."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bench.checks.battery.asking import SAME, apart, ask
from bench.checks.battery.draws import uniform
from bench.checks.battery.finding import Finding, graded, passed
from bench.checks.battery.lab import Lab
from bench.core.nouns import Precision
from bench.core.numerics import numerics

_AGAIN = 5  # calls after the first
_FEW = 4  # different answers in those calls, at most, of a model that draws from a small set
_ALONE = 4  # images that are queried one by one
# Layers that behave differently in training mode (timm names its stochastic depth DropPath).
_TWO_FACED = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd, nn.RReLU)


def check_repetition(lab: Lab) -> Finding:
    """Query the same batch repeatedly.

    Source: Athalye et al., arXiv:1802.00420 (stochastic gradients); AutoAttack's own check, arXiv:2003.01690.
    """
    target, images = lab.subject.target, lab.batch.images
    first = ask(target, images)
    worst, flips = torch.zeros(len(images), device=images.device), torch.zeros_like(lab.batch.labels, dtype=torch.bool)
    said = [first]
    for _ in range(_AGAIN):
        again = ask(target, images)
        said.append(again)
        worst = torch.maximum(worst, apart(first, again))
        flips |= _flipped(first, again)
    changed, total = int((worst > SAME).sum()), len(images)
    what = f"in {_AGAIN + 1} calls, {changed} of {total} images change their answer and {int(flips.sum())} their label"
    tail = "the answers are deterministic"
    if changed:
        kinds = _kinds(said)
        tail = "the model is randomised or keeps state, so one call proves nothing"
        if kinds <= _FEW:
            tail = f"the answers come from {kinds} or a few more, as of a random member: one call proves nothing"
    return graded("repetition", changed / total, f"{what}: {tail}", fail=changed > 0)


def check_batch(lab: Lab) -> Finding:
    """Query the same images alone, in another order, among black, white and noisy images, and dimmed.

    Source: Tramer et al., arXiv:2002.08347 (evaluations that rely on batch statistics).
    """
    target, images = lab.subject.target, lab.batch.images
    half = images * 0.5
    noisy = (uniform(lab.seed, lab.batch, "company") + 1) / 2
    strange = torch.cat([torch.zeros_like(images[:2]), torch.ones_like(images[:2]), noisy[:4]])
    order = torch.arange(len(images) - 1, -1, -1, device=images.device)
    trials: dict[str, Callable[[], tuple[Tensor, Tensor]]] = {
        "asked alone": lambda: (
            torch.cat([ask(target, images[i : i + 1]) for i in range(min(_ALONE, len(images)))]),
            ask(target, images)[:_ALONE],
        ),
        "in another order": lambda: (ask(target, images[order])[order], ask(target, images)),
        "in a batch of half the size": lambda: (ask(target, images[: (len(images) + 1) // 2]), _first_half(lab)),
        "among strange images": lambda: (ask(target, torch.cat([images, strange]))[: len(images)], ask(target, images)),
        "dimmed, beside bright images": lambda: (
            ask(target, torch.cat([half, torch.ones_like(images[:2])]))[: len(images)],
            ask(target, half),
        ),
    }
    share, where = 0.0, ""
    for name, trial in trials.items():
        try:
            off, how = float((apart(*trial()) > SAME).float().mean()), name
        except (RuntimeError, ValueError) as error:
            off, how = 1.0, f"{name} (it raises {type(error).__name__})"
        if off > share:
            share, where = off, how
    if not share:
        return passed("batch", 0.0, "an image gets the same answer alone, in any order and in any batch")
    what = f"{share:.0%} of the images get another answer {where}: the answer depends on the rest of the batch"
    return graded("batch", share, what, fail=True)


def check_mode(lab: Lab) -> Finding:
    """Layers left in training mode, and answers that depend on whether gradients are enabled."""
    target, images = lab.subject.target, lab.batch.images
    layers = [n or "the model" for n, m in target.named_modules() if m.training and _two_faced(m)]
    if layers:
        what = f"{len(layers)} layers are in training mode ({layers[0]} first): they behave differently in deployment"
        return graded("mode", float(len(layers)), what, fail=True)
    if lab.why_not("repetition"):
        return passed("mode", 0.0, "no layer is in training mode")
    share = max(_graph_matters(lab, images), _graph_matters(lab, lab.margin_candidates))
    if share:
        what = f"{share:.0%} of the images (or of adversarial ones) get another answer with gradients enabled"
        what = f"{what}: the model detects the attack"
        return graded("mode", share, what, fail=True)
    return passed("mode", 0.0, "no layer is in training mode, and the answer is the same with and without gradients")


def _graph_matters(lab: Lab, images: Tensor) -> float:
    """Share of the images that get another answer with gradients enabled."""
    target = lab.subject.target
    with torch.enable_grad(), numerics(Precision.FP32, images.device.type):
        asked: Tensor = target(images.clone().requires_grad_()).detach().float()
    return float((apart(ask(target, images), asked) > SAME).float().mean())


def _two_faced(layer: nn.Module) -> bool:
    dropping = isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p == 0
    path = type(layer).__name__ in ("DropPath", "StochasticDepth") and bool(getattr(layer, "drop_prob", 1))
    return (isinstance(layer, _TWO_FACED) and not dropping) or path


def _first_half(lab: Lab) -> Tensor:
    images = lab.batch.images
    return ask(lab.subject.target, images)[: (len(images) + 1) // 2]


def _kinds(said: list[Tensor]) -> int:
    """The most different answers that any image gets."""
    most = torch.zeros(len(said[0]), device=said[0].device)
    for i, one in enumerate(said):
        new = torch.ones_like(most, dtype=torch.bool)
        for earlier in said[:i]:
            new &= apart(earlier, one) > SAME
        most += new
    return int(most.max())


def _flipped(a: Tensor, b: Tensor) -> Tensor:
    return a.argmax(1) != b.argmax(1)

"""Checks of transfer adversaries: whether their sources are good enough, and whether the key has an effect."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.checks.battery.asking import SAME, apart, ask, right, rival, slope, tall
from bench.checks.battery.exact import more_than
from bench.checks.battery.finding import Finding, Status, graded, passed, skipped
from bench.checks.battery.lab import Lab
from bench.checks.chance import one_sided
from bench.checks.tiers import source_check, too_weak

_BELOW = 0.9  # a source below this share of the target's accuracy says little of the target
# Adversarial images of the base slightly beyond its boundary: halvings to find it, and the distance beyond.
_HALVINGS, _BEYOND = 7, 1.1
# Share of those on which a keyed model makes the base's mistake. Honest keyed models on the digits: 0 to 6%; the
# folded base: 100%, even with noise on its weights.
_SAME_MISTAKES, _MANY_MISTAKES = 0.8, 0.5
_FEWEST = 10  # such images needed for a judgement


def check_sources(lab: Lab) -> list[Finding]:
    """Accuracy and gradient of every source of transfer adversaries, relative to the target's accuracy.

    Source: arXiv:2010.00801's code attacks the victim's weights through a wrong key, a model at chance.
    """
    return [_source(lab, name) for name in lab.subject.substitutes] or [
        skipped("weak source", "no transfer source is given")
    ]


def _source(lab: Lab, name: str) -> Finding:
    source, batch = lab.subject.substitutes[name], lab.batch
    logits = ask(source, batch.images)
    ours, theirs = int(lab.right.sum()), right(logits, batch.labels)
    count, total = int(theirs.sum()), len(batch)
    check = source_check(name)
    what = f"the source is correct on {count / total:.0%} of the images, the target on {ours / total:.0%}"
    if ours == 0:
        return skipped(check, "the target is correct on no image, so no source can be weaker")
    _, gradient, _ = slope(source, batch.images, batch.labels, rival(logits, batch.labels))
    flat = gradient.flatten(1)
    dead = int((~flat.isfinite().all(1) | (flat == 0).all(1)).sum())
    if more_than(dead, total, 0.02):
        what = f"the source has no gradient at {dead} of {total} images: attacks on it are blind"
        return graded(check, dead / total, what, fail=True)
    target_alone, source_alone = int((lab.right & ~theirs).sum()), int((theirs & ~lab.right).sum())
    if too_weak(target_right=ours, target_alone=target_alone, source_alone=source_alone):
        tail = "its adversarial images say nothing about the target, so the figure does not measure robustness"
        return graded(check, count / total, f"{what}: {tail}", fail=True)
    other = bool((apart(logits, lab.clean) > SAME).any())
    if lab.subject.keyed and other and _same_weights(source, lab.subject.target):
        what = "the source is the target's own weights behind another key, not a model that an adversary would train"
        return graded(check, count / total, f"{what} (correct on {count / total:.0%})", fail=True)
    behind = count < _BELOW * ours and one_sided(target_alone, source_alone)
    tail = "its transfer is weaker than that of a good source" if behind else "its accuracy is sufficient"
    return graded(check, count / total, f"{what}: {tail}", fail=False, warn=behind)


def check_order(lab: Lab, sources: list[Finding]) -> Finding:
    """The same attack from every source: an adversary with more knowledge should not fool fewer images.

    Source: Carlini et al., arXiv:1902.06705, section 4 (a sign of an under-powered attack). On honest keyed models a
    good attack on the plain model may be stronger, so this alone is never a failure.
    """
    given = lab.subject.substitutes
    if not {"adaptive", "non-adaptive"} <= given.keys():
        return skipped("adaptive order", "an adaptive and a non-adaptive source are not both available")
    if any(f.status is Status.FAIL for f in sources):
        return skipped("adaptive order", "a source is too weak for comparison (see above)")
    plain, own = lab.transfer_fooled("non-adaptive"), lab.transfer_fooled("adaptive")
    total = max(int(lab.right.sum()), 1)
    gap = (int(plain.sum()) - int(own.sum())) / total
    weaker = one_sided(int((plain & ~own).sum()), int((own & ~plain).sum()))
    what = (
        f"the adaptive source fools {int(own.sum())} of {total} correct images, the non-adaptive one {int(plain.sum())}"
    )
    tail = "the adaptive attack is weaker, so take the worst case of both" if weaker else "neither hides the other"
    return graded("adaptive order", gap, f"{what}: {tail}", fail=False, warn=weaker)


def check_key(lab: Lab, *, attack: bool = True) -> Finding:
    """Whether a keyed model computes the same as the undefended one: the same logits, or the same mistakes.

    Source: the fold of arXiv:2207.11939 turns any key into such a model, without training.
    """
    base, batch = lab.subject.base, lab.batch
    if base is None or not lab.subject.keyed:
        return skipped("key", "the defense has no key" if base is not None else "the target is the undefended model")
    same = float((apart(lab.clean, ask(base, batch.images)) < SAME).float().mean())
    if same > 0.5:
        what = f"{same:.0%} of the images get the undefended model's logits: the key is folded in without training"
        return graded("key", same, what, fail=True)
    if not attack:
        return passed("key", same, f"{same:.0%} of the images get the undefended model's logits")
    source = next((n for n, m in lab.subject.substitutes.items() if m is base), None)
    if source is None:
        return skipped("key", "the undefended model is not a source of the audit, so its mistakes are not available")
    images = _just_fooled(base, lab.transferred[source], lab)
    mine, theirs = (ask(m, images).argmax(1) for m in (lab.model, base))
    fooled = theirs != batch.labels
    total = int(fooled.sum())
    if total < _FEWEST:
        return skipped("key", f"only {total} images fool the undefended model, too few to compare mistakes")
    share = int((mine == theirs)[fooled].sum()) / total
    what = f"on {total} images that barely fool the undefended model, {share:.0%} of the answers repeat its mistake"
    tail = "the key has no effect" if share >= _MANY_MISTAKES else "the keyed model computes something else"
    return graded("key", share, f"{what}: {tail}", fail=share >= _SAME_MISTAKES, warn=share >= _MANY_MISTAKES)


def _just_fooled(base: nn.Module, candidates: Tensor, lab: Lab) -> Tensor:
    """Points on the path from each image to its candidate, slightly beyond where the base's answer turns wrong."""
    images, labels = lab.batch.images, lab.batch.labels
    low, high = torch.zeros(len(images), device=images.device), torch.ones(len(images), device=images.device)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        wrong = ask(base, images + tall(middle) * (candidates - images)).argmax(1) != labels
        low, high = torch.where(wrong, low, middle), torch.where(wrong, middle, high)
    return images + tall((_BEYOND * high).clamp(max=1)) * (candidates - images)


def _same_weights(one: nn.Module, other: nn.Module) -> bool:
    """Whether two models have the same weights under the same names, all of them."""
    a, b = dict(one.named_parameters()), dict(other.named_parameters())
    return bool(a) and a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)

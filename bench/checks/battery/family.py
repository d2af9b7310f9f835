"""Checks whether the substitute of an adversary is a model of the defense's own kind."""

from __future__ import annotations

from collections import Counter

import torch
from torch import nn

from bench.checks.battery.asking import SAME, apart, ask
from bench.checks.battery.finding import Finding, graded
from bench.checks.battery.lab import Lab

# Share of the target's weights (by shape) that its kind has in common. Honest substitutes: all.
_ALIKE = 0.9


def check_family(lab: Lab) -> list[Finding]:
    """Compare the weights' shapes, the steps without weights and the answers of each substitute that claims the method.

    An adversary who knows the mechanism trains a model of the same kind. A substitute of another kind, or the
    undefended model in its place, is weaker than that adversary, and its figure is not theirs.
    """
    return [_family(lab, name) for name in lab.subject.substitutes if name in lab.subject.kin]


def _family(lab: Lab, name: str) -> Finding:
    source, target, base = lab.subject.substitutes[name], lab.subject.target, lab.subject.base
    check = f"family ({name})"
    parts = [part for part in source.modules() if not isinstance(part, nn.ModuleList)]
    alike = max(_alike(part, target) for part in parts)
    what = f"the substitute has weights of the shapes of {alike:.0%} of the target's"
    if alike < _ALIKE:
        tail = "it is not of the defense's own kind, so its figure is not that of an adversary who knows the defense"
        return graded(check, alike, f"{what}: {tail}", fail=True)
    if base is not None and source is not base:
        images = lab.batch.images
        same = float((apart(ask(source, images), ask(base, images)) < SAME).float().mean())
        mine = float((apart(lab.clean, ask(base, images)) < SAME).float().mean())
        if same > 0.5 and mine <= 0.5:
            what = f"{same:.0%} of the images get the undefended model's logits from the substitute"
            return graded(check, alike, f"{what}: it was not made by the defense's method", fail=True)
    return graded(check, alike, f"{what}: it is of the defense's own kind", fail=False)


def _alike(part: nn.Module, target: nn.Module) -> float:
    """Share of the target's weights whose shapes ``part`` has too, by number of values, relative to the larger one."""
    ours, theirs = _shapes(target), _shapes(part)
    most = max(_size(ours), _size(theirs))
    return _size(ours & theirs) / most if most else 1.0


def _shapes(model: nn.Module) -> Counter[torch.Size]:
    return Counter(p.shape for p in model.parameters())


def _size(shapes: Counter[torch.Size]) -> int:
    return sum(shape.numel() * count for shape, count in shapes.items())

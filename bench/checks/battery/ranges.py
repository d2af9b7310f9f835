"""Checks whether the model rescales its input, so that eps is on another scale than declared."""

from __future__ import annotations

from bench.checks.battery.asking import SAME, apart, ask
from bench.checks.battery.draws import uniform
from bench.checks.battery.finding import Finding, graded
from bench.checks.battery.lab import Lab

_NOISE = 0.15  # of another change of the images, which no rescaling would undo


def check_range(lab: Lab) -> Finding:
    """Change brightness and contrast: an honest model's logits change.

    A model that divides by the image's own maximum or deviation, or by 255 for large values, gives the same answer.
    One that looks its answers up gives the same answer to noisy images as well.
    """
    target, images = lab.subject.target, lab.batch.images
    first = ask(target, images)
    moved = {
        "255 times the values": images * 255,
        "half the contrast": images * 0.5,
        "half the contrast, raised to the middle": images * 0.5 + 0.25,
        "a tenth of the values": images * 0.1,
    }
    shares = {name: float((apart(first, ask(target, x)) < SAME).float().mean()) for name, x in moved.items()}
    name = max(shares, key=lambda n: shares[n])
    if shares[name] == 0:
        return graded("range", 0.0, "no image keeps its answer when its brightness or contrast changes", fail=False)
    noisy = (images + _NOISE * uniform(lab.seed, lab.batch, "range")).clamp(0, 1)
    deaf = float((apart(first, ask(target, noisy)) < SAME).float().mean())
    what = f"{shares[name]:.0%} of the images get exactly the same answer at {name}"
    tail = "the input is silently rescaled, so eps is on another scale than declared"
    if deaf >= shares[name] / 2:
        what = f"{what}, and {deaf:.0%} with noise"
        tail = "answers do not follow the image but are looked up, or nothing else but a saturated output"
    return graded("range", shares[name], f"{what}: {tail}", fail=shares[name] >= 0.5, warn=True)

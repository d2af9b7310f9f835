"""Choice of the point that is returned for an image."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from bench.attacks.autoattack.geometry import chosen
from bench.attacks.autoattack.losses import cross_entropy, margin
from bench.attacks.autoattack.types import Probe, State

Keep = Literal["first", "last", "best"]


def opened(images: Tensor) -> State:
    """Keeper rows for newly seated images (n, C, H, W)."""
    return {
        "fooled": torch.zeros(len(images), dtype=torch.bool, device=images.device),
        "over": torch.zeros(len(images), dtype=torch.bool, device=images.device),
        "candidate": images.clone(),
        "score": images.new_full((len(images),), -float("inf")),
        "margin": images.new_full((len(images),), float("nan")),
    }


def noted(keep: Keep, kept: State, probe: Probe, labels: Tensor) -> State:
    """Return the keeper's rows after a step; functional, like the attacks.

    ``first`` keeps the first misclassified point, ``last`` the last one (the official code), ``best`` the one with the
    highest cross-entropy, misclassified points before others.
    """
    wrong = probe.logits.argmax(1) != labels
    wrong = wrong if probe.eligible is None else wrong & probe.eligible
    after = dict(kept)
    if keep == "best":
        score = cross_entropy(probe.logits, labels)
        allowed = torch.isfinite(score) if probe.eligible is None else torch.isfinite(score) & probe.eligible
        take = allowed & ((wrong & ~kept["fooled"]) | ((score > kept["score"]) & (wrong | ~kept["fooled"])))
        after["score"] = torch.where(take, score, kept["score"])
    else:
        take = wrong & ~kept["fooled"] if keep == "first" else wrong
    after["margin"] = torch.where(take, -margin(probe.logits, labels), kept["margin"])
    after["candidate"] = chosen(take, probe.points, kept["candidate"])
    after["fooled"] = kept["fooled"] | wrong
    if probe.over is not None:
        after["over"] = kept["over"] | probe.over
    return after

"""The input of the checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import nn

from bench.core.budget import Budget
from bench.core.nouns import Batch


@dataclass(frozen=True)
class Subject:
    """A deployed model with its context; nothing here names the defense.

    Attributes:
        target: As deployed: images (B, C, H, W) in [0, 1] to logits (B, classes), on the device of the images.
        batch: A random subset (by seed) of the test images.
        fresh: Images that the defense was allowed to see (its training images), about as many; None if not
            available.
        classes: Number of classes of the data.
        budget: Budget of the evaluation.
        seed: Seed of all randomness.
        base: The undefended model; None if it is the target.
        substitutes: Sources of transfer adversaries by the name of the threat.
        keyed: Whether the defense claims a key.
        kin: Names of the substitutes that claim to be made by the defense's own method.
        again: Loads the target once more, as it was before any query; None to copy it instead.
    """

    target: nn.Module
    batch: Batch
    classes: int
    budget: Budget
    seed: int = 0
    fresh: Batch | None = None
    base: nn.Module | None = None
    substitutes: Mapping[str, nn.Module] = field(default_factory=dict)
    keyed: bool = False
    kin: frozenset[str] = frozenset()
    again: Callable[[], nn.Module] | None = None

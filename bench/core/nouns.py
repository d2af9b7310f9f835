"""The values that the rooms exchange: Batch, Verdict, Adversary, Trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.budget import Budget
from bench.core.cost import Meter

if TYPE_CHECKING:
    from torch import Tensor

    Model = Callable[[Tensor], Tensor]  # images (B, C, H, W) in [0, 1] -> logits (B, K)


@dataclass(frozen=True)
class Batch:
    """Images with their metadata: ids, float32 images (B, C, H, W) in [0, 1], labels (B,) int64."""

    ids: tuple[str, ...]
    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, positions: Sequence[int]) -> Batch:
        """The images at ``positions``, in that order."""
        index = list(positions)
        return Batch(tuple(self.ids[i] for i in index), self.images[index], self.labels[index])

    def to(self, device: str) -> Batch:
        """The same batch on another device."""
        return Batch(self.ids, self.images.to(device), self.labels.to(device))


class Outcome(StrEnum):
    """The result for one image. Only ROBUST counts for the defense."""

    ROBUST = "robust"
    FOOLED = "fooled"
    MISCLASSIFIED = "misclassified"  # the target was wrong on the clean image
    INVALID = "invalid"  # the candidate left the budget or [0, 1], or is not finite
    ERROR = "error"  # the attack raised, so the result is unknown


class Protocol(StrEnum):
    """The protocol of an evaluation; the two never share a column."""

    STRICT = "strict"  # every image is attacked
    PAPER = "paper"  # images that the source misclassifies stay clean, as in arXiv:2311.16577


class Precision(StrEnum):
    """Arithmetic of an attack's search; verdicts are always measured in float32."""

    FP32 = "fp32"
    TF32 = "tf32"
    BF16 = "bf16"


class Access(StrEnum):
    """What a source returns; an attack declares the least that it needs."""

    GRADIENTS = "gradients"
    SCORES = "scores"  # logits, without a graph
    LABELS = "labels"  # one one-hot row per image

    def gives(self, needed: Access) -> bool:
        """Whether an attack that needs ``needed`` can run with this access."""
        order = (Access.LABELS, Access.SCORES, Access.GRADIENTS)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True)
class Verdict:
    """The judgement of one image: predictions of the target, measured distance, outcome.

    A prediction is None if the logits were not finite or nothing was predicted.
    """

    outcome: Outcome
    clean_prediction: int | None
    adversarial_prediction: int | None
    distance: float | None


@dataclass(frozen=True)
class Adversary:
    """Everything that an attack may access.

    Attributes:
        source: The adversary's model.
        budget: The limit on the perturbation.
        seed: The run's seed; the randomness for an image comes only from ``seed_of(seed, image id, attack, restart)``.
        batch_size: Images per call of the source; None leaves it to the attack.
        precision: Precision of the search; a candidate counts only as judged in float32.
        queries: Query limit of the source per attacked image; None for no limit.
        meters: Where an attack may report the cost of its parts, by name.
        margins: Where an attack may report, by image id, what the source answered at the returned candidate in the
            attack's own calls: the largest wrong logit minus the correct one, positive where it was fooled; infinite
            if the attack sees labels only.
    """

    source: Model
    budget: Budget
    seed: int = 0
    batch_size: int | None = None
    precision: Precision = Precision.FP32
    queries: int | None = None
    meters: dict[str, Meter] = field(default_factory=dict)
    margins: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Trained:
    """A model with the digest of all that determines it (weights, transform, key fingerprint), and its folder."""

    model: Model
    digest: str
    note: str = ""
    folder: Path | None = None

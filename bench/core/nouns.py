"""The values that travel between the rooms: Batch, Verdict, Adversary, Trained."""

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
    """Images with what they are: ids, float32 images (B, C, H, W) in [0, 1], labels (B,) int64."""

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
    """What became of one image. Only ROBUST counts for the defense."""

    ROBUST = "robust"
    FOOLED = "fooled"
    MISCLASSIFIED = "misclassified"  # the target was wrong on the clean image already
    INVALID = "invalid"  # the candidate left the budget or [0, 1], or is not finite
    ERROR = "error"  # the attack raised, so nothing is known


class Protocol(StrEnum):
    """How an evaluation is put together; the two never share a column."""

    STRICT = "strict"  # every image is attacked
    PAPER = "paper"  # images that the source misclassifies stay clean, as in arXiv:2311.16577


class Precision(StrEnum):
    """Arithmetic of an attack's search; verdicts are always measured in float32."""

    FP32 = "fp32"
    TF32 = "tf32"
    BF16 = "bf16"


class Access(StrEnum):
    """What a source answers with; an attack says the least that it needs."""

    GRADIENTS = "gradients"
    SCORES = "scores"  # logits, without a graph
    LABELS = "labels"  # a one-hot row for each image

    def gives(self, needed: Access) -> bool:
        """Whether an attack that needs ``needed`` can run on this."""
        order = (Access.LABELS, Access.SCORES, Access.GRADIENTS)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True)
class Verdict:
    """The judgement of one image: predictions on the target, measured distance, outcome.

    A prediction is None where the logits were not finite or nothing was predicted.
    """

    outcome: Outcome
    clean_prediction: int | None
    adversarial_prediction: int | None
    distance: float | None


@dataclass(frozen=True)
class Adversary:
    """All that an attack may touch.

    Attributes:
        source: The model that the adversary holds.
        budget: How far an image may be moved.
        seed: The run's; an attack draws for an image from ``seed_of(seed, image id, attack, restart)`` alone.
        goal: ``untargeted``: any wrong class will do.
        batch_size: Images to send through the source at once; None leaves it to the attack.
        precision: Of the search; a candidate counts only as float32 judges it.
        queries: Images that may be asked of the source for each image attacked; None for any number.
        meters: Where an attack may say what its parts cost, by name.
    """

    source: Model
    budget: Budget
    seed: int = 0
    goal: str = "untargeted"
    batch_size: int | None = None
    precision: Precision = Precision.FP32
    queries: int | None = None
    meters: dict[str, Meter] = field(default_factory=dict)


@dataclass(frozen=True)
class Trained:
    """A model with the digest of everything that makes it: weights, transform, key fingerprint; its files' folder."""

    model: Model
    digest: str
    note: str = ""
    folder: Path | None = None

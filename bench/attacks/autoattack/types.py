"""What the scheduler and the attacks say to each other.

To add an attack, write one class with ``name``, ``runs``, ``steps``, ``begin`` and ``step`` (see ``apgd_dlr.py`` for
the smallest one) and name it in ``versions.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from bench.attacks.autoattack.oracle import Oracle
from bench.core.cost import Passes

# One tensor per variable, one row per slot. No two entries may share storage: the scheduler writes newcomers in place.
State = dict[str, Tensor]
# (image id, attack name, restart) -> seed of the image's own random stream.
Seeds = Callable[[str, str, int], int]


@dataclass(frozen=True)
class Guest:
    """One image on its way through the attacks.

    Attributes:
        position: Where the image stands in the caller's order.
        id: The image's name, from which its seeds derive.
        image: (C, H, W), float32 in [0, 1].
        label: True class.
        logits: (K,), float32, of the clean image, once it was looked at.
        best: Highest-loss candidate so far with its score, where candidates of unfooled images are wanted.
    """

    position: int
    id: str
    image: Tensor
    label: int
    logits: Tensor = field(default_factory=lambda: torch.empty(0))
    best: tuple[float, Tensor] | None = None

    @property
    def misclassified(self) -> bool:
        """Whether the clean image is called something else."""
        return int(self.logits.argmax()) != self.label


@dataclass(frozen=True)
class Finished:
    """What one attack made of one image: whether it is fooled, and the candidate (C, H, W) with its score if any."""

    guest: Guest
    fooled: bool
    candidate: Tensor | None = None
    score: float = -float("inf")


@dataclass(frozen=True)
class Newcomers:
    """Images about to begin a run: ``images`` (n, C, H, W), ``labels`` (n,), clean ``logits`` (n, K).

    ``runs`` says for each image which of the attack's runs begins; ``streams`` are the images' own CPU generators,
    which go on from run to run as in the official code.
    """

    images: Tensor
    labels: Tensor
    logits: Tensor
    runs: Sequence[int]
    streams: Sequence[torch.Generator]


@dataclass(frozen=True)
class Probe:
    """What one step evaluated: ``points`` (S, C, H, W) and their ``logits`` (S, K).

    Attributes:
        eligible: (S,) bool, points that may be handed back (None: all). FAB leaves the ball on its way.
        over: (S,) bool, rows that have nothing left to try (None: none).
    """

    points: Tensor
    logits: Tensor
    eligible: Tensor | None = None
    over: Tensor | None = None


class StepAttack(Protocol):
    """An attack as a pure step on a batch of states; it knows neither slots nor queues nor verdicts."""

    @property
    def name(self) -> str:
        """Name in the sequence and in the seeds, such as ``apgd-ce``."""

    @property
    def steps(self) -> int:
        """Calls of ``step`` that make one run."""

    def runs(self, classes: int) -> int:
        """Runs per image, one after the other while it stands: restarts or target classes; 0 where it cannot run."""

    def passes(self, classes: int) -> Passes:
        """What one step asks of the source for one image."""

    def begin(self, newcomers: Newcomers) -> State:
        """States of images that begin a run; each draws from its own stream alone."""

    def step(self, state: State, oracle: Oracle) -> tuple[State, Probe]:
        """One step of every row, independently of the others; ``state`` itself is not changed."""

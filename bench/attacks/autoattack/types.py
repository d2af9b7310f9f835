"""Types shared by the scheduler and the attacks.

To add an attack, write one class with ``name``, ``runs``, ``steps``, ``begin`` and ``step`` (see ``apgd_dlr.py`` for
the smallest one) and add it to ``versions.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from bench.attacks.autoattack.oracle import Oracle
from bench.core.cost import Passes

# One tensor per variable, one row per slot. Entries must not share storage: the scheduler writes new rows in place.
State = dict[str, Tensor]
# (image id, attack name, restart) -> seed of the image's own random stream.
Seeds = Callable[[str, str, int], int]


@dataclass(frozen=True)
class Guest:
    """One image passing through the attacks.

    Attributes:
        position: The image's position in the caller's order.
        id: The image's id, from which its seeds derive.
        image: (C, H, W), float32 in [0, 1].
        label: True class.
        logits: (K,), float32, of the clean image, once evaluated; on the CPU.
        best: Highest-loss result of an attack so far, if candidates of unfooled images are wanted.
    """

    position: int
    id: str
    image: Tensor
    label: int
    logits: Tensor = field(default_factory=lambda: torch.empty(0))
    best: Finished | None = None

    @property
    def misclassified(self) -> bool:
        """Whether the clean image is misclassified."""
        return int(self.logits.argmax()) != self.label

    @property
    def margin(self) -> float:
        """Largest wrong logit of the clean image minus the correct one."""
        wrong = torch.cat([self.logits[: self.label], self.logits[self.label + 1 :]])
        return float(wrong.max() - self.logits[self.label])


@dataclass(frozen=True)
class Finished:
    """Result of one attack on one image: whether it is fooled, and the candidate (C, H, W) with its score if any.

    ``margin`` is the largest wrong logit minus the correct one at the candidate, as the attack saw it.
    """

    guest: Guest
    fooled: bool
    candidate: Tensor | None = None
    score: float = -float("inf")
    margin: float = float("nan")

    @property
    def seen(self) -> float:
        """The margin at the point that the attack returns: the candidate, or the clean image without one."""
        return self.guest.margin if self.candidate is None else self.margin


@dataclass(frozen=True)
class Newcomers:
    """Images that start a run: ``images`` (n, C, H, W), ``labels`` (n,), clean ``logits`` (n, K).

    ``runs`` is the run of the attack that each image starts; ``streams`` are the images' own CPU generators,
    which continue from run to run as in the official code.
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
        eligible: (S,) bool, points that may be returned (None: all). FAB leaves the ball during its search.
        over: (S,) bool, rows with nothing left to try (None: none).
    """

    points: Tensor
    logits: Tensor
    eligible: Tensor | None = None
    over: Tensor | None = None


class StepAttack(Protocol):
    """An attack as a pure step on a batch of states, independent of slots, queues and verdicts."""

    @property
    def name(self) -> str:
        """Name in the sequence and in the seeds, such as ``apgd-ce``."""

    @property
    def steps(self) -> int:
        """Calls of ``step`` in one run."""

    def runs(self, classes: int) -> int:
        """Runs per image, in turn while it remains robust: restarts or target classes; 0 if it cannot run."""

    def passes(self, classes: int) -> Passes:
        """Calls of the source that one step makes per image."""

    def begin(self, newcomers: Newcomers) -> State:
        """States of images that start a run; each draws only from its own stream."""

    def step(self, state: State, oracle: Oracle) -> tuple[State, Probe]:
        """Step every row independently of the others; ``state`` itself is not changed."""

"""From passes through architectures to arithmetic and time; every architecture is counted and timed once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch

from bench.core.nouns import Precision
from bench.core.profile import Recipe
from bench.core.progress import Progress, Silent
from bench.plan.devices import Device
from bench.plan.measure import Architecture, Clocked, Counted, clock, count

_NUMBER = 4  # bytes of a float32
# Images of state per row of an attack: start, best, previous and next point, their gradients, bounds, candidate.
_STATE = 12
# Values of optimizer state per trainable weight.
_OPTIMIZER = {"adamw": 2, "sgd": 1}


@dataclass(frozen=True)
class Work:
    """Passes of images through one architecture, in one precision; ``batch`` of them at once."""

    architecture: Architecture
    precision: Precision
    forwards: float
    backwards: float
    batch: int


@dataclass(frozen=True)
class Amount:
    """Floating-point operations and seconds: ``here`` as measured, ``there`` on the named device; None: not asked."""

    flops: float = 0.0
    here: float | None = 0.0
    there: float | None = 0.0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.flops + other.flops, _sum(self.here, other.here), _sum(self.there, other.there))


@dataclass
class Gauge:
    """Estimates the cost of work.

    Attributes:
        device: Device for timed calls; None to time nothing.
        there: A device for estimates by its published peak.
        mfu: Share of that peak that is reached.
        progress: Notified of the architecture being timed.
        notes: Notes for the plan, added as they arise.
    """

    device: str | None
    there: Device | None
    mfu: float
    progress: Progress = field(default_factory=Silent)
    notes: list[str] = field(default_factory=list)
    _counts: dict[tuple[Architecture, Precision], Counted] = field(default_factory=dict)
    _clocks: dict[tuple[Architecture, Precision], Clocked | None] = field(default_factory=dict)

    def counted(self, architecture: Architecture, precision: Precision) -> Counted:
        """Arithmetic and memory per image."""
        if (architecture, precision) not in self._counts:
            self._counts[architecture, precision] = count(architecture, precision)
        return self._counts[architecture, precision]

    def clocked(self, architecture: Architecture, precision: Precision, batch: int) -> Clocked | None:
        """Seconds per image here; None if nothing is timed, or if it does not fit."""
        if self.device is None:
            return None
        if (architecture, precision) not in self._clocks:
            what = f"{architecture.name}{', training' if architecture.trains else ''}, {precision}"
            self.progress.note(f"timing {what} on {self.device}")
            try:
                made = clock(architecture, precision, self.counted(architecture, precision), self.device, batch)
            except torch.OutOfMemoryError:
                made = None
                self.notes.append(f"{what}: {batch} images at once do not fit on this device, so it is not timed")
            self._clocks[architecture, precision] = made
        return self._clocks[architecture, precision]

    def amount(self, work: Iterable[Work]) -> Amount:
        """All of it."""
        return sum(map(self._amount, work), Amount())

    def _amount(self, work: Work) -> Amount:
        counted = self.counted(work.architecture, work.precision)
        flops = work.forwards * counted.forward + work.backwards * counted.backward
        if not flops:
            return Amount()
        clocked = self.clocked(work.architecture, work.precision, work.batch)
        here = work.forwards * clocked.forward + work.backwards * clocked.backward if clocked else None
        there = flops / (self.there.peak(work.precision) * self.mfu) if self.there else None
        return Amount(flops, here, there)

    def attack_bytes(self, source: Architecture, precision: Precision, batch: int, held: Iterable[Architecture]) -> int:
        """Device memory of an attack: weights of all its models, and what one batch keeps for its gradient."""
        counted = self.counted(source, precision)
        weights = sum(self.counted(architecture, precision).weights for architecture in held)
        state = _STATE * torch.Size(source.shape).numel() * _NUMBER
        return _NUMBER * weights + counted.fixed + batch * (counted.kept + state)

    def training_bytes(self, architecture: Architecture, recipe: Recipe, batch: int) -> int:
        """Device memory of a training: weights, gradients, the optimizer's state, and what one batch keeps."""
        counted = self.counted(architecture, Precision(recipe.precision))
        numbers = counted.weights + counted.trained * (1 + _OPTIMIZER[recipe.optimizer])
        return _NUMBER * numbers + counted.fixed + batch * counted.kept

    def model_bytes(self, architecture: Architecture, recipe: Recipe) -> int:
        """Size of the file with the trained weights."""
        return _NUMBER * self.counted(architecture, Precision(recipe.precision)).trained

    def checkpoint_bytes(self, architecture: Architecture, recipe: Recipe) -> int:
        """Size of a training checkpoint."""
        return self.model_bytes(architecture, recipe) * (1 + _OPTIMIZER[recipe.optimizer])


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other

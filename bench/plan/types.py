"""What a plan says, and what it is asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.core.cost import Calls
from bench.core.progress import Progress, Silent
from bench.plan.devices import Device
from bench.plan.gauge import Amount


@dataclass(frozen=True)
class Asked:
    """How to plan.

    Attributes:
        images: Images of every run; None for what the Spec or the data set says.
        data: The folder of the data set, to count its images.
        device: Where calls are timed; None to time nothing.
        there: A device to reckon with by its published peak, and the share ``mfu`` of it that is reached.
        price: Of an hour on ``there``, else on ``device``.
        micro_batch: Images at once of a training; None for its whole batch.
    """

    images: int | None = None
    data: Path | None = None
    device: str | None = None
    there: Device | None = None
    mfu: float = 0.35
    price: float | None = None
    micro_batch: int | None = None
    progress: Progress = field(default_factory=Silent)


@dataclass(frozen=True)
class PlannedRun:
    """One run by itself. ``calls`` and ``most`` are None where the attack does not say its cost.

    ``shares`` names the run whose adversarial images this one judges; ``memory`` is in bytes, ``measured`` what a GPU
    said of it.
    """

    row: str
    column: str
    run_id: str
    defense: str
    threat: str
    attack: str
    budget: str
    precision: str
    source: str
    target: str
    images: int
    calls: Calls | None
    least: Amount
    most: Amount | None
    memory: int
    measured: int | None
    shares: str | None
    trains: tuple[str, ...]


@dataclass(frozen=True)
class PlannedTraining:
    """One model that is trained once, whoever needs it."""

    name: str
    options: dict[str, Any]
    seed: int
    steps: int
    batch_size: int
    precision: str
    amount: Amount
    memory: int
    model_bytes: int
    runs: tuple[str, ...]


@dataclass(frozen=True)
class Totals:
    """All runs with shared work counted once; money for the hours asked about, bytes of the largest memory and of disk.

    ``complete`` is false where an attack does not say its cost: ``most`` and the money are then of the rest.
    """

    attacks: int
    training: Amount
    least: Amount
    most: Amount
    complete: bool
    cost: tuple[float, float] | None
    memory: int
    images_bytes: int
    models_bytes: int
    checkpoint_bytes: int
    verdicts_bytes: int


@dataclass(frozen=True)
class Plan:
    """Runs, models to train, the whole, and what people should know."""

    runs: list[PlannedRun]
    trainings: list[PlannedTraining]
    totals: Totals
    notes: list[str]

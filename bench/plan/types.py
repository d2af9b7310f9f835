"""Inputs and results of a plan."""

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
    """Settings of a plan.

    Attributes:
        images: Images of every run; None for the number in the Spec or the data set.
        data: The folder of the data set, to count its images.
        device: Device for timed calls; None to time nothing.
        there: A device for estimates by its published peak, of which the share ``mfu`` is reached.
        price: Price per hour on ``there``, otherwise on ``device``.
        micro_batch: Images per training micro-batch; None for the whole batch.
        workers: Workers that share the runs.
    """

    images: int | None = None
    data: Path | None = None
    device: str | None = None
    there: Device | None = None
    mfu: float = 0.35
    price: float | None = None
    micro_batch: int | None = None
    workers: int = 1
    progress: Progress = field(default_factory=Silent)


@dataclass(frozen=True)
class PlannedRun:
    """One run by itself. ``calls`` and ``most`` are None if the attack does not report its cost.

    ``run_id`` is None if the images are not here, because it follows from them. ``shares`` is the run whose adversarial
    images this one judges; ``memory`` is in bytes, ``measured`` the peak measured on a GPU.
    """

    row: str
    column: str
    run_id: str | None
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
    """One model that is trained once, even if several runs need it."""

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
class Shared:
    """The runs of a plan on several workers: seconds from begin to end, as (least, most).

    ``efficiency`` is the share of their time in which the workers work; ``shards`` are those of all runs.
    """

    workers: int
    shards: int
    seconds: tuple[float, float]
    efficiency: tuple[float, float]


@dataclass(frozen=True)
class Totals:
    """Totals of all runs with shared work counted once: money for the hours, the largest memory and disk in bytes.

    ``shared`` is None for one worker, or if no times are known.

    ``complete`` is false if an attack does not report its cost: ``most`` and the money then cover the others.
    """

    attacks: int
    training: Amount
    least: Amount
    most: Amount
    complete: bool
    cost: tuple[float, float] | None
    memory: int
    shared: Shared | None
    images_bytes: int
    models_bytes: int
    checkpoint_bytes: int
    verdicts_bytes: int


@dataclass(frozen=True)
class Plan:
    """Runs, models to train, totals, and notes."""

    runs: list[PlannedRun]
    trainings: list[PlannedTraining]
    totals: Totals
    notes: list[str]

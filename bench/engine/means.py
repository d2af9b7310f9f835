"""With what a Spec is evaluated."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bench.core.plugins import TrainingMeans
from bench.core.progress import Progress, Silent
from bench.store.home import Home
from bench.store.runs import RunStore


@dataclass(frozen=True)
class Means:
    """Folders, device, listener; none of it may change a verdict but by rounding.

    Attributes:
        results: Where records are written.
        home: Keyring and caches.
        device: ``cpu`` or ``cuda``.
        backend: Where shards run.
        data: The folder of the data set, for one that needs it.
        weights: A file or folder of pre-trained weights; None for the hub.
        offline: Never try the network.
        workers: Threads that decode test images.
        train: Train what is missing even where the profile leaves that to ``bench train``.
        training: How models are trained; device and listener are these.
        rebuild: Make a cached model anew where its digest is wrong.
        key_name: What the keyring calls the key, for the record.
        argv: The command line, for the record.
        progress: Told how far work is.
    """

    results: RunStore
    home: Home
    device: str = "cpu"
    backend: str = "local"
    data: Path | None = None
    weights: Path | None = None
    offline: bool = False
    workers: int = 1
    train: bool = False
    training: TrainingMeans = field(default_factory=TrainingMeans)
    rebuild: bool = False
    key_name: str | None = None
    argv: tuple[str, ...] = ()
    progress: Progress = field(default_factory=Silent)

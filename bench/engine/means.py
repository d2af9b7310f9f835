"""The environment in which a Spec is evaluated."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bench.core.plugins import TrainingMeans
from bench.core.progress import Progress, Silent
from bench.store.home import Home
from bench.store.runs import RunStore


@dataclass(frozen=True)
class Means:
    """Folders, device, listener; none of it may change a verdict beyond rounding.

    Attributes:
        results: Folder for records.
        home: Keyring and caches.
        device: ``cpu`` or ``cuda``.
        backend: Runs the shards.
        data: Folder of the data set, if it needs one.
        weights: A file or folder of pre-trained weights; None for the hub.
        offline: Disable network access.
        workers: Image-decoding threads.
        train: Train missing models even if the profile leaves that to ``bench train``.
        training: Training settings; device and listener are these.
        rebuild: Rebuild a cached model with a wrong digest.
        key_name: The key's name in the keyring, for the record.
        argv: The command line, for the record.
        progress: Receives progress.
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

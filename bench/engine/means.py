"""The environment in which a Spec is evaluated."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.core.plugins import TrainingMeans
from bench.core.progress import Progress, Silent
from bench.engine.request import Resources
from bench.store.claims import STALE
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
        address: Of the backend's cluster; None for a backend without one.
        isolate: Whether verdicts are made in a process of its own; None: if code from outside is in the model.
        data: Folder of the data set, if it needs one.
        weights: A file or folder of pre-trained weights; None for the hub.
        offline: Disable network access.
        readers: Image-decoding threads.
        workers: Processes that share the work; None for the default of the backend.
        stale: Seconds without a sign of life after which a worker on another machine counts as dead.
        train: Train missing models even if the profile leaves that to ``bench train``.
        training: Training settings; device and listener are these.
        rebuild: Rebuild a cached model with a wrong digest.
        verify_data: Read every image for its digest, whatever is kept.
        key_name: The key's name in the keyring, for the record.
        argv: The command line, for the record.
        progress: Receives progress.
    """

    results: RunStore
    home: Home
    device: str = "cpu"
    backend: str = "local"
    address: str | None = None
    isolate: bool | None = None
    data: Path | None = None
    weights: Path | None = None
    offline: bool = False
    readers: int = 1
    workers: int | None = None
    stale: float = STALE
    train: bool = False
    training: TrainingMeans = field(default_factory=TrainingMeans)
    rebuild: bool = False
    verify_data: bool = False
    key_name: str | None = None
    argv: tuple[str, ...] = ()
    progress: Progress = field(default_factory=Silent)

    @property
    def quiet(self) -> Means:
        """The same without a listener, for another process, which may have another working folder."""
        return replace(
            self,
            results=RunStore(self.results.root.absolute()),
            home=Home(self.home.root.absolute()),
            data=self.data and self.data.absolute(),
            weights=self.weights and self.weights.absolute(),
            progress=Silent(),
            training=replace(self.training, progress=Silent()),
        )

    @classmethod
    def of(
        cls,
        resources: Resources,
        progress: Progress,
        *,
        argv: tuple[str, ...] = (),
        key_name: str | None = None,
        training: TrainingMeans | None = None,
    ) -> Means:
        """What the user gave, with the home that the environment names.

        Args:
            resources: Folders, device, workers.
            progress: Receives progress.
            argv: The command line, for the record.
            key_name: The key's name in the keyring, for the record.
            training: Training settings; None for the defaults.
        """
        return cls(
            results=RunStore(resources.results),
            home=Home.default(),
            device=resources.device,
            backend=resources.backend,
            address=resources.address,
            isolate=resources.isolate,
            data=resources.data,
            weights=resources.weights,
            offline=resources.offline,
            readers=max(1, spare_cores() if resources.readers is None else resources.readers),
            workers=resources.workers,
            stale=STALE if resources.stale is None else resources.stale,
            train=resources.train,
            training=training or TrainingMeans(),
            rebuild=resources.rebuild,
            verify_data=resources.verify_data,
            key_name=key_name,
            argv=argv,
            progress=progress,
        )


def spare_cores() -> int:
    """One less than the cores that this process may use."""
    return len(os.sched_getaffinity(0)) - 1 if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1) - 1

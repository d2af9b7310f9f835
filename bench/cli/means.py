"""Folders, device and listener of a command, put together."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bench.core.errors import InputError
from bench.core.nouns import Precision
from bench.core.plugins import TrainingMeans
from bench.core.progress import Progress
from bench.engine.means import Means
from bench.store.home import Home
from bench.store.runs import RunStore


def make_means(
    results: str,
    device: str,
    progress: Progress,
    *,
    backend: str = "local",
    data: str | None = None,
    weights: str | None = None,
    offline: bool = False,
    workers: int | None = None,
    train: bool = False,
    training: TrainingMeans | None = None,
    rebuild: bool = False,
    key_name: str | None = None,
) -> Means:
    """The means of a run; the command line is kept for the record."""
    return Means(
        results=RunStore(Path(results)),
        home=Home.default(),
        device=device,
        backend=backend,
        data=Path(data) if data else None,
        weights=Path(weights) if weights else None,
        offline=offline,
        workers=max(1, spare_cores() if workers is None else workers),
        train=train,
        training=training or TrainingMeans(),
        rebuild=rebuild,
        key_name=key_name,
        argv=("bench", *sys.argv[1:]),
        progress=progress,
    )


def spare_cores() -> int:
    """Cores that this process may use, but for one."""
    return len(os.sched_getaffinity(0)) - 1 if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1) - 1


def parse_precision(name: str, device: str) -> Precision:
    """The precision of a search by its name; ``auto`` is bf16 on a GPU that has it, else fp32.

    Raises:
        InputError: there is no such precision.
    """
    if name == "auto":
        import torch

        fast = device.startswith("cuda") and torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        return Precision.BF16 if fast else Precision.FP32
    if name not in list(Precision):
        raise InputError(f"unknown precision {name!r}; expected one of {', '.join(Precision)}, auto")
    return Precision(name)

"""Folders, device and listener of a command, put together."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.core.progress import Progress
from bench.engine.evaluate import Means
from bench.store.home import Home
from bench.store.runs import RunStore


def make_means(
    results: str,
    device: str,
    progress: Progress,
    *,
    backend: str = "local",
    rebuild: bool = False,
    key_name: str | None = None,
) -> Means:
    """The means of a run; the command line is kept for the record."""
    return Means(
        results=RunStore(Path(results)),
        home=Home.default(),
        device=device,
        backend=backend,
        rebuild=rebuild,
        key_name=key_name,
        argv=("bench", *sys.argv[1:]),
        progress=progress,
    )

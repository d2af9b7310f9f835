"""Several processes that train one model: leader and synchronisation. A single process is its own leader."""

from __future__ import annotations

import os


def leads() -> bool:
    """Whether this process writes files and output, by the numbering of `accelerate launch` and torchrun."""
    return int(os.environ.get("RANK", "0")) == 0


def together() -> bool:
    """Whether there are several processes."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def join(device: str) -> None:
    """Join the other processes, if any, and select this process's device; call it before any model is created."""
    if together():
        from accelerate import PartialState  # noqa: PLC0415 (seconds to import)

        from bench.core.devices import on_host  # noqa: PLC0415 (torch)

        PartialState(cpu=on_host(device))


def meet() -> None:
    """Wait for all processes."""
    if together():
        from accelerate import PartialState  # noqa: PLC0415 (seconds to import)

        PartialState().wait_for_everyone()

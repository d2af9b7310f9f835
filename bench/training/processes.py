"""Several processes that train one model: who leads, and where they meet. One process is its own leader."""

from __future__ import annotations

import os


def leads() -> bool:
    """Whether this process is the one that writes files and speaks, as `accelerate launch` and torchrun number them."""
    return int(os.environ.get("RANK", "0")) == 0


def together() -> bool:
    """Whether there are several processes."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def join(device: str) -> None:
    """Meet the other processes, if there are any, and take this one's own device; before any model is made."""
    if together():
        from accelerate import PartialState  # noqa: PLC0415 (seconds to import)

        PartialState(cpu=device == "cpu")


def meet() -> None:
    """Wait until every process is here."""
    if together():
        from accelerate import PartialState  # noqa: PLC0415 (seconds to import)

        PartialState().wait_for_everyone()

"""Fixed batch shapes: which there are, padding to them, and recovery from running out of memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from bench.core.devices import empty_cache
from bench.core.errors import BenchError

T = TypeVar("T")
# Smallest batch that the model is given. Matrix kernels round differently for very few rows: on two ViTs and a
# ResNet-18 (float32, CPU, one thread per product) logits and gradients were bit-identical from 4 rows on, and
# differed by up to 1e-6 at 1, 2 and 3 rows. With two threads per product they were identical at multiples of 4.
FLOOR = 4
# Shapes below the full one to which a batch may shrink when few images are left.
_STEPS = 32


@dataclass
class BatchShapes:
    """The batch shapes of a run, from all slots down to the floor in steps; running out of memory may lower both.

    Attributes:
        slots: Images at a time; padded to the floor if fewer.
        floor: Smallest shape.
        step: Step between the shapes.
        climbing: Whether smaller shapes may be used when few images are left (they must round identically).
    """

    slots: int
    floor: int = FLOOR
    step: int = FLOOR
    climbing: bool = True

    @property
    def top(self) -> int:
        """The largest shape."""
        return -(-max(self.slots, self.floor) // self.step) * self.step

    def shape(self, rows: int) -> int:
        """The smallest shape that holds ``rows``, or the largest one."""
        if not self.climbing or rows >= self.top:
            return self.top
        step = self.step * max(self.top // (_STEPS * self.step), 1)
        return min(max(-(-rows // step) * step, self.floor), self.top)

    def halve(self, device: torch.device) -> None:
        """Halve the batch on ``device``, whose memory ran out.

        Raises:
            BenchError: if a single image does not fit.
        """
        if self.top == 1:
            raise BenchError("out of memory with a single image in the batch; use a smaller model or another device")
        half = self.top // 2
        self.slots, self.floor, self.step = (min(n, half) for n in (self.slots, self.floor, self.step))
        empty_cache(device)


def pad(x: Tensor, rows: int) -> Tensor:
    """Return ``x`` padded to ``rows`` rows by repeating its first row."""
    return x if len(x) == rows else torch.cat([x, x[:1].expand(rows - len(x), *x.shape[1:])])


def measured(forward: Callable[[Tensor], Tensor], images: Tensor, shapes: BatchShapes) -> Tensor:
    """Outputs of ``forward`` for all ``images`` in padded batches of these shapes."""
    parts: list[Tensor] = []
    done = 0
    while done < len(images):
        chunk = images[done : done + shapes.top]
        padded = pad(chunk, shapes.shape(len(chunk)))
        outputs = attempt(lambda padded=padded: forward(padded))  # type: ignore[misc]
        if outputs is None:
            shapes.halve(images.device)
            continue
        parts.append(outputs[: len(chunk)])
        done += len(chunk)
    return torch.cat(parts)


def attempt(work: Callable[[], T]) -> T | None:
    """Return the result of ``work``, or None if memory ran out (its tensors are released by then)."""
    try:
        return work()
    except torch.OutOfMemoryError:
        return None

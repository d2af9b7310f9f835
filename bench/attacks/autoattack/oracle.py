"""Calls of the source model: precision, counters, time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bench.attacks.autoattack.captured import Captured
from bench.core.cost import Meter
from bench.core.devices import Clock
from bench.core.errors import StoppedError
from bench.core.nouns import Precision
from bench.core.numerics import numerics

if TYPE_CHECKING:
    from bench.core.nouns import Model


@dataclass
class Oracle:
    """The source in one precision.

    ``live`` is the number of batch rows that count, ``room`` the maximum number of images per call, ``halt`` ends all
    calls.
    The time in the model is read without synchronisation.
    """

    model: Model
    precision: Precision = Precision.FP32
    meter: Meter = field(default_factory=Meter)
    live: int = 0
    room: int = 1
    halt: threading.Event | None = None
    _flat: Tensor | None = field(default=None, repr=False)
    _clock: Clock = field(default_factory=Clock, repr=False)

    def logits(self, x: Tensor, tries: int = 1) -> Tensor:
        """Logits (S, K) in float32 without a graph; ``x`` may hold several points for each row of the batch."""
        with self._counted(x, backwards=0, tries=tries), torch.no_grad(), numerics(self.precision, x.device.type):
            return self.model(x).float()

    def gradient(self, x: Tensor, loss: Callable[[Tensor], Tensor], samples: int = 1) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (S, K), loss (S,) and its gradient with respect to ``x``.

        Args:
            x: Images (S, C, H, W).
            loss: From logits to one value per image.
            samples: Calls over which the gradient is averaged, for randomised models; logits and loss are the last's.
        """
        total = torch.zeros_like(x) if samples > 1 else None
        for _ in range(samples):
            with self._counted(x, backwards=1), torch.enable_grad(), numerics(self.precision, x.device.type):
                leaf = x.detach().requires_grad_()
                logits = self.model(leaf).float()
                values = loss(logits)
                gradient = torch.autograd.grad(values.sum(), leaf)[0].contiguous()  # the copy may be channels last
            if self._flat is None:
                self._flat = (gradient[: self.live or None] == 0).flatten(1).all(1).sum()
            total = gradient if total is None else total + gradient
        return logits.detach(), values.detach(), gradient if total is None or samples == 1 else total / float(samples)

    def jacobian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (S, K) and the gradient of each of them, (S, K, C, H, W)."""
        with torch.enable_grad(), numerics(self.precision, x.device.type):
            leaf = x.detach().requires_grad_()
            with self._counted(x, backwards=0):
                logits = self.model(leaf).float()
            rows = []
            for index in range(logits.shape[1]):
                with self._counted(x, forwards=0, backwards=1):
                    rows.append(torch.autograd.grad(logits[:, index].sum(), leaf, retain_graph=True)[0])
        return logits.detach(), torch.stack(rows, dim=1)

    def forget(self) -> None:
        """Release memory that speeds up further calls."""
        if isinstance(self.model, Captured):
            self.model.forget()

    def settle(self) -> None:
        """Add what is still on the device to the meter; synchronises."""
        self.meter.model_seconds += self._clock.settle()
        if self._flat is not None:
            self.meter.flat += int(self._flat)
            self._flat = torch.zeros(())

    @contextmanager
    def _counted(self, x: Tensor, backwards: int, forwards: int = 1, tries: int = 1) -> Iterator[None]:
        if self.halt is not None and self.halt.is_set():
            raise StoppedError("the attack was stopped")
        began = self._clock.start(x.device)
        yield
        self._clock.stop(x.device, began)
        live = min(self.live * tries or len(x), len(x))
        self.meter.forwards += forwards * live
        self.meter.backwards += backwards * live
        self.meter.padding += forwards * (len(x) - live)


@contextmanager
def frozen(model: Model) -> Iterator[None]:
    """Disable gradients for the parameters of ``model`` inside; restores their settings on exit."""
    asking = [p for p in model.parameters() if p.requires_grad] if isinstance(model, nn.Module) else []
    for parameter in asking:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in asking:
            parameter.requires_grad_(True)

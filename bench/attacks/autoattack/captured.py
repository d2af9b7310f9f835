"""A model on an accelerator whose calls are captured once for each batch shape and then launched as one.

A small model keeps an accelerator waiting for Python, which launches its kernels one by one. A captured call is
launched at once, on fixed memory: inputs are copied there and results from there, so that the caller sees an ordinary
model. It must be one whose steps do not depend on values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bench.core.devices import Recorder

# Calls of a shape before it is captured, and the shapes that are kept: rare shapes are not worth their memory.
_AFTER, _MOST = 8, 4
_Key = tuple[torch.Size, bool]


class Captured:
    """Images (B, C, H, W) to logits (B, K) in float32, and their gradient with respect to the images.

    Args:
        model: Its weights are frozen.
        after: Calls of a shape that are not captured.

    Attributes:
        why: Why nothing is captured any more: the device or the model refused.
    """

    def __init__(self, model: nn.Module, after: int = _AFTER) -> None:
        self._model, self._after, self.why = model, after, ""
        self._calls: Counter[_Key] = Counter()
        self.forget()

    def __call__(self, x: Tensor) -> Tensor:
        """Logits of ``x``, launched as one if its shape was captured."""
        graded = torch.is_grad_enabled() and x.requires_grad
        try:
            kept = self._kept.get((x.shape, graded)) or self._considered(x, graded)
            if kept is None:
                return self._forward(x)
            if graded:
                return _Replayed.apply(x, self, kept)  # type: ignore[no-any-return]
            return self.ahead(kept, x)[0]
        except torch.OutOfMemoryError:
            self.forget()
            raise

    def forget(self) -> None:
        """Release the memory of all captured calls."""
        self._kept: dict[_Key, _Call] = {}
        self._recorder: Recorder | None = None
        self._turn = 0

    def ahead(self, kept: _Call, x: Tensor) -> tuple[Tensor, int]:
        """Logits, and the turn: the number of the last launch in the memory that all captured calls share."""
        kept.point.detach().copy_(x.detach())
        kept.launch()
        self._turn += 1
        return kept.logits.detach().clone(), self._turn

    def back(self, kept: _Call, x: Tensor, slope: Tensor, turn: int) -> Tensor:
        """The gradient for that of the logits; what the forward left is there only if nothing was launched since."""
        if turn != self._turn:
            self.ahead(kept, x)
        kept.slope.copy_(slope)
        kept.launch_back()
        self._turn += 1
        return kept.gradient.clone()

    def _considered(self, x: Tensor, graded: bool) -> _Call | None:
        """Capture the call if its shape was seen often enough."""
        key = x.shape, graded
        self._calls[key] += 1
        if self.why or self._calls[key] <= self._after:
            return None
        if len(self._kept) >= _MOST:
            del self._kept[oldest := next(iter(self._kept))]
            self._calls[oldest] = 0
        try:
            self._kept[key] = self._captured(x, graded)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # of the device or of the model, which is then called as it is
            self.forget()
            self.why = " ".join(str(error).split())[:200] or type(error).__name__
            return None
        return self._kept[key]

    def _captured(self, x: Tensor, graded: bool) -> _Call:
        self._recorder = recorder = self._recorder or Recorder(x.device)
        point = x.detach().clone().requires_grad_(graded)
        if not graded:
            recorder.warm(lambda: self._forward(point))
            logits, launch = recorder.record(lambda: self._forward(point))
            return _Call(point, logits, launch, logits, logits, launch)
        recorder.warm(lambda: torch.autograd.grad(self._forward(point).sum(), point))
        logits, launch = recorder.record(lambda: self._forward(point))
        slope = torch.ones_like(logits.detach())
        gradient, launch_back = recorder.record(lambda: torch.autograd.grad(logits, point, slope)[0])
        return _Call(point, logits.detach(), launch, slope, gradient, launch_back)

    def _forward(self, x: Tensor) -> Tensor:
        kind = x.device.type
        low = torch.is_autocast_enabled(kind)
        with torch.autocast(
            kind, torch.bfloat16, enabled=low, cache_enabled=False
        ):  # a cache would outlive the capture
            return self._model(x).float()  # type: ignore[no-any-return]


@dataclass(frozen=True)
class _Call:
    """One captured shape: fixed memory for inputs and results, and what launches the two passes."""

    point: Tensor
    logits: Tensor
    launch: Callable[[], None]
    slope: Tensor
    gradient: Tensor
    launch_back: Callable[[], None]


class _Replayed(torch.autograd.Function):
    """A captured forward whose backward is captured too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, captured: Captured, kept: _Call) -> Tensor:
        logits, ctx.turn = captured.ahead(kept, x)
        ctx.captured, ctx.kept = captured, kept
        ctx.save_for_backward(x)
        return logits

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        return ctx.captured.back(ctx.kept, x, slopes[0], ctx.turn), None, None

"""A copy of the source that computes the same function faster, used for the search only.

The search's findings are measured again on the source itself, so rounding may differ here. The copy's changes are in
:mod:`bench.attacks.autoattack.search_copy`; beside them its calls are recorded once and replayed without Python:

- On a CPU because threads would wait on each other for Python (two threads on the same ViT, forward, us per image: 94
  unchanged and 60 replayed with 8 rows each, 79 and 55 with 32).
- On an accelerator that can, because it would wait for Python (:mod:`bench.attacks.autoattack.captured`).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeGuard

import torch
from torch import Tensor, nn

from bench.attacks.autoattack.batching import attempt
from bench.attacks.autoattack.captured import Captured
from bench.attacks.autoattack.search_copy import copied
from bench.core.devices import can_record, on_host
from bench.core.nouns import Precision
from bench.core.numerics import numerics

if TYPE_CHECKING:
    from bench.core.nouns import Model

# Packages with modules that treat every input alike, so that a recording is valid; other modules declare
# ``traceable = True`` if they do (no randomness, no data-dependent branches).
_TRACEABLE = ("torch", "timm", "peft")
# Larger models spend negligible time outside their products (ViT-B/16: 87 million), and are slow to record.
_MOST_WEIGHTS = 20_000_000
# Calls per image from which a recording pays: a trace takes as long as a hundred steps, a capture as long as ten.
_MANY_CALLS, _MANY_CALLS_ELSEWHERE = 500, 50
# A copy must reproduce the logits of the model, and a recording those of the copy, up to this share of the largest.
_AGREES = {Precision.FP32: 1e-4, Precision.TF32: 1e-3, Precision.BF16: 5e-2}
# Gradients round more than logits do, and bfloat16 may change a branch of the network.
_SLOPE_AGREES = {Precision.FP32: 1e-2, Precision.TF32: 5e-2, Precision.BF16: 0.5}


@dataclass
class Search:
    """What the search calls instead of ``model``.

    Args:
        model: The source.
        precision: Of the search.
        example: Some images (B, C, H, W) of the run.
    """

    model: Model
    precision: Precision
    example: Tensor
    _trial: str = ""

    @cached_property
    def copy(self) -> Model:
        """The faster copy, or the model itself if a copy gains nothing or behaves differently."""
        fast = copied(self.model, self.precision, host=on_host(self.example.device))
        return fast if self._alike(fast, self.model, 4) else self.model

    @cached_property
    def recording(self) -> Model:
        """The copy as a recording, if that is valid for it."""
        if not _repeatable(self.copy):
            return self.copy
        if on_host(self.example.device):
            replay = _traced(self.copy, self.precision, self._rows(8))
            return replay if self._same(replay) else self.copy
        if not can_record(self.example.device):
            return self.copy
        trial = Captured(self.copy, after=0)
        same = self._same(trial, slopes=(8, 20, 8))
        if trial.why or not same:
            self._trial = trial.why or "its logits or gradients differ from the model's"
            return self.copy
        return Captured(self.copy)

    @property
    def not_captured(self) -> str:
        """Why calls were not captured although they should have been; empty if they were, or nobody tried."""
        made = self.__dict__.get("recording")
        return made.why if isinstance(made, Captured) else self._trial

    def _same(self, replay: Model, slopes: Sequence[int] = (8,)) -> bool:
        """Whether a recording gives what the copy gives, with gradients for batches of ``slopes`` rows in turn."""
        same = all(self._alike(replay, self.copy, rows) for rows in (8, 20, 20))
        return same and all(self._same_slope(replay, self.copy, rows) for rows in slopes)

    def _alike(self, fast: Model, slow: Model, rows: int) -> bool:
        """Whether two models give the same logits, up to the rounding of the precision."""
        if fast is slow:
            return True
        x = self._rows(rows)
        with torch.no_grad(), numerics(self.precision, x.device.type):
            both = attempt(lambda: (fast(x).float(), slow(x).float()))
        if both is None:
            return False
        a, b = both
        off = float((a - b).abs().max()) if a.shape == b.shape else float("inf")
        return off <= _AGREES[self.precision] * max(float(b.abs().max()), 1e-6)

    def _same_slope(self, fast: Model, slow: Model, rows: int) -> bool:
        """Whether two models that give the same logits have the same gradient.

        A recording drops ``detach``, which loses the substitute gradient of a non-differentiable step.
        """
        if fast is slow:
            return True

        def slope(model: Model) -> Tensor:
            x = self._rows(rows).clone().requires_grad_()
            with torch.enable_grad(), numerics(self.precision, x.device.type):
                top = model(x).float().topk(2, dim=1).values
            found: Tensor = torch.autograd.grad((top[:, 0] - top[:, 1]).sum(), x, allow_unused=True)[0]
            return torch.zeros_like(x) if found is None else found

        both = attempt(lambda: (slope(fast), slope(slow)))
        if both is None:
            return False
        a, b = both
        off = float((a - b).norm())
        return off <= _SLOPE_AGREES[self.precision] * max(float(b.norm()), 1e-12)

    def _rows(self, count: int) -> Tensor:
        return self.example[torch.arange(count, device=self.example.device) % len(self.example)]

    def for_calls(self, calls: int) -> Model:
        """The model for an attack with ``calls`` calls per image."""
        many = _MANY_CALLS if on_host(self.example.device) else _MANY_CALLS_ELSEWHERE
        return self.recording if calls >= many else self.copy


def _repeatable(model: Model) -> TypeGuard[nn.Module]:
    """Whether a recording of a call is valid for every input, and worth it."""
    if not isinstance(model, nn.Module) or model.training:
        return False
    large = sum(p.numel() for p in model.parameters()) > _MOST_WEIGHTS
    return not large and all(_traceable(layer) for layer in model.modules())


def _traced(model: nn.Module, precision: Precision, example: Tensor) -> nn.Module:
    try:
        with warnings.catch_warnings(), torch.no_grad(), numerics(precision, "cpu"):
            warnings.simplefilter("ignore")
            replay: nn.Module = torch.jit.freeze(torch.jit.trace(model, example, check_trace=False))
    except Exception:  # the copy itself handles whatever the recorder cannot
        return model
    return replay


def _traceable(layer: nn.Module) -> bool:
    return type(layer).__module__.split(".")[0] in _TRACEABLE or getattr(layer, "traceable", False) is True

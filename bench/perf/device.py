"""What a device reaches in every workload, with the batch that is fastest on it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from bench.core.budget import Budget
from bench.core.cost import Meter
from bench.core.devices import empty_cache, wait
from bench.core.errors import BenchError
from bench.core.nouns import Adversary, Precision
from bench.core.numerics import numerics
from bench.core.registry import registry
from bench.engine.flops import arithmetic, peak
from bench.engine.judge import predict
from bench.perf.subjects import Contestant

if TYPE_CHECKING:
    from torch import Tensor

_SIZES = tuple(2**power for power in range(2, 12))
# A radius at which every image survives, so that an attack runs to full length.
_ROBUST = Budget.parse("linf:0.0002")
_PARTS: dict[str, tuple[str, dict[str, Any]]] = {
    "apgd": ("autoattack", {"version": "custom", "attacks": ["apgd-ce"]}),
    "square": ("autoattack", {"version": "custom", "attacks": ["square"]}),
    "fab": ("autoattack", {"version": "custom", "attacks": ["fab-t"], "targets": 1}),
    "standard": ("autoattack", {}),
    "mi": ("mi", {}),
}
EVERY = (*_PARTS, "judge")


@dataclass(frozen=True)
class Reached:
    """One workload on one device.

    Attributes:
        batch: Rows per call.
        queries: Forwards of an image.
        mfu: Share of the measured peak, over the whole time; None where operations cannot be counted.
        outside: Share of the time outside of the model's calls; on an accelerator from its events, so that it is the
            attack's own work there and waiting for the host. None where the workload does not tell.
    """

    subject: str
    workload: str
    precision: str
    batch: int
    images: int
    seconds: float
    images_per_second: float
    queries: int
    queries_per_second: float
    mfu: float | None
    outside: float | None


def reached(found: Contestant, workload: str, precision: Precision, batch: int | None, steps: int | None) -> Reached:
    """Run one workload of EVERY.

    Args:
        found: Model and images.
        workload: apgd, square, fab and mi on images that survive; standard on images that do not; judge in float32.
        precision: Of the attack's search.
        batch: Rows per call; None for the fastest.
        steps: Of the attacks, if not the standard number; the whole standard attack has its own.
    """
    judge = workload == "judge"
    precision = Precision.FP32 if judge else precision
    rows = batch or fastest(found, precision, gradient=workload not in ("square", "judge"))
    work = _judge(found, rows) if judge else _attack(found, workload, precision, rows, steps)
    device = found.batch.images.device
    wait(device)
    began = time.perf_counter()
    meter = work()
    wait(device)
    seconds, count = time.perf_counter() - began, len(found.batch)
    flops = arithmetic(found.model, found.batch.images[:1]).total(meter.forwards, meter.backwards)
    return Reached(
        found.name, workload, precision, rows, count, seconds, count / seconds, meter.forwards,
        meter.forwards / seconds, flops / seconds / peak(str(device), precision) if flops else None,
        max(1 - meter.model_seconds / seconds, 0.0) if meter.model_seconds else None,
    )  # fmt: skip


def fastest(found: Contestant, precision: Precision, *, gradient: bool) -> int:
    """The number of rows with the most images per second in a call, among powers of two that fit into memory.

    Raises:
        BenchError: if the smallest does not fit.
    """
    images, rates = found.batch.images, dict[int, float]()
    for rows in _SIZES:
        if rows > max(len(images), _SIZES[0]):
            break
        x = images[torch.arange(rows, device=images.device) % len(images)]
        try:
            _call(found, x, precision, gradient=gradient)  # warm
            wait(images.device)
            began = time.perf_counter()
            for _ in range(3):
                _call(found, x, precision, gradient=gradient)
            wait(images.device)
        except torch.OutOfMemoryError:
            empty_cache(images.device)
            break
        rates[rows] = rows / (time.perf_counter() - began)
    if not rates:
        raise BenchError(f"out of memory with {_SIZES[0]} images in a batch; use a smaller model or another device")
    return max(rates, key=rates.__getitem__)


def _call(found: Contestant, x: Tensor, precision: Precision, *, gradient: bool) -> None:
    leaf = x.detach().requires_grad_(gradient)
    with torch.set_grad_enabled(gradient), numerics(precision, x.device.type):
        logits = found.model(leaf).float()
    if gradient:
        torch.autograd.grad(logits.sum(), leaf)


def _judge(found: Contestant, rows: int) -> Callable[[], Meter]:
    def work() -> Meter:
        predict(found.model, found.batch.images, rows)
        return Meter(forwards=len(found.batch))

    return work


def _attack(
    found: Contestant, workload: str, precision: Precision, rows: int, steps: int | None
) -> Callable[[], Meter]:
    name, options = _PARTS[workload]
    if steps is not None and workload != "standard":
        options = options | {{"square": "queries", "mi": "steps"}.get(workload, "iterations"): steps}
    attack = registry("attacks").make(name, options)
    budget = found.budget if workload == "standard" else _ROBUST
    adversary = Adversary(found.model, budget, 0, batch_size=rows, precision=precision)
    classes = int(found.model(found.batch.images[:1]).shape[1])

    def work() -> Meter:
        attack.perturb(adversary, found.batch)
        if not adversary.meters:  # it makes the same calls for every image
            most = attack.calls(classes, budget).most
            return Meter(forwards=most.forwards * len(found.batch), backwards=most.backwards * len(found.batch))
        total = Meter()
        for meter in adversary.meters.values():
            total.add(meter)
        return total

    return work

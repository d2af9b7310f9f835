"""The engine and its peers on the same model and images in one run."""

from __future__ import annotations

import importlib.util
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bench.core.budget import Budget, Norm
from bench.core.cost import Meter
from bench.core.devices import wait
from bench.core.errors import InputError
from bench.core.extras import require
from bench.core.nouns import Adversary, Batch, Precision
from bench.core.plugins import Attack
from bench.core.registry import registry
from bench.engine.flops import Arithmetic, arithmetic, peak
from bench.perf.subjects import Contestant, accuracy

if TYPE_CHECKING:
    from bench.core.nouns import Model

# The workloads: the whole standard attack; gradient steps and queries on images that survive all of them.
WORKLOADS: dict[str, dict[str, Any]] = {
    "standard": {},
    "apgd": {"version": "custom", "attacks": ["apgd-ce"]},
    "square": {"version": "custom", "attacks": ["square"]},
}


@dataclass(frozen=True)
class Timing:
    """One contestant on one workload; ``seconds`` of wall clock time, ``robust`` as judged in float32."""

    subject: str
    workload: str
    budget: str
    contestant: str
    images: int
    robust: float
    seconds: float
    per_image_step_ms: float | None = None
    mfu: float | None = None
    ratio: float | None = None
    parts: dict[str, dict[str, float]] = field(default_factory=dict)


def contest(
    found: Contestant, budget: Budget, workload: str, *, precision: Precision, batch_size: int | None, peers: list[str],
    steps: int | None = None,
) -> list[Timing]:  # fmt: skip
    """Time the engine and each peer.

    Args:
        found: Model and images.
        budget: The ball.
        workload: One of WORKLOADS.
        precision: Precision of the engine's search; peers run unmodified in float32.
        batch_size: Batch size for all contestants.
        peers: ``official``, ``torchattacks``.
        steps: APGD iterations or Square queries, if not the standard number.

    Raises:
        InputError: if a peer is unknown or not installed.
    """
    timings = [_engine(found, budget, workload, precision, batch_size, steps)]
    for peer in peers:
        timings.append(_peer(peer)(found, budget, workload, batch_size, steps))
    return timings


def rated(timings: list[Timing]) -> list[Timing]:
    """Timings with the ratio to the official package at the same budget, if present; of step times if available."""
    official = {t.budget: t.per_image_step_ms or t.seconds for t in timings if t.contestant == "official"}
    return [
        replace(t, ratio=official[t.budget] / (t.per_image_step_ms or t.seconds)) if t.budget in official else t
        for t in timings
    ]


def _engine(
    found: Contestant, budget: Budget, workload: str, precision: Precision, batch_size: int | None, steps: int | None
) -> Timing:
    options = dict(WORKLOADS[workload])
    if steps is not None:
        options["iterations" if workload == "apgd" else "queries"] = steps
    attack: Attack = registry("attacks").make("autoattack", options)
    adversary = Adversary(found.model, budget, 0, batch_size=batch_size, precision=precision)
    candidates, seconds = _timed(lambda: attack.perturb(adversary, found.batch), found.batch)
    one = arithmetic(found.model, found.batch.images[:1])
    total = Meter()
    for meter in adversary.meters.values():
        total.add(meter)
    device = str(found.batch.images.device)
    flops = one.total(total.forwards, total.backwards)
    mfu = flops / total.model_seconds / peak(device, precision) if total.model_seconds and flops is not None else None
    parts = {name: _part(meter, one, peak(device, precision)) for name, meter in adversary.meters.items()}
    return Timing(
        found.name, workload, str(budget), f"bench {precision}", len(found.batch), accuracy(found, candidates), seconds,
        _per_step(total, seconds, workload), mfu, parts=parts,
    )  # fmt: skip


def _official(found: Contestant, budget: Budget, workload: str, batch_size: int | None, steps: int | None) -> Timing:
    from pyautoattack import AutoAttack  # noqa: PLC0415 (a peer, not a part)

    options = WORKLOADS[workload]
    attack = AutoAttack(
        found.model, norm={Norm.LINF: "Linf", Norm.L2: "L2"}[budget.norm], eps=budget.radius, seed=0,
        version=options.get("version", "standard"), attacks=options.get("attacks"),
        device=str(found.batch.images.device),
    )  # fmt: skip
    attack.apgd.n_restarts = 1
    if steps is not None:
        attack.apgd.n_iter, attack.square.n_queries = steps, steps
    size = batch_size or len(found.batch)

    def run() -> Tensor:
        if workload == "standard":
            whole: Tensor = attack.run_standard_evaluation(found.batch.images, found.batch.labels, batch_size=size)[0]
            return whole
        alone = {"apgd": attack.apgd, "square": attack.square}[workload]  # without the checks on the first batch
        alone.loss = {"apgd": "ce", "square": "margin"}[workload]
        return _in_parts(alone.perturb, found.batch, size)

    with _counted(found.model) as counted:
        candidates, seconds = _timed(run, found.batch)
    per_step = _per_step(counted, seconds, workload)
    return Timing(found.name, workload, str(budget), "official", len(found.batch), accuracy(found, candidates), seconds,
                  per_step)  # fmt: skip


def _torchattacks(
    found: Contestant, budget: Budget, workload: str, batch_size: int | None, steps: int | None
) -> Timing:
    """Time torchattacks with the iterations of the standard attack (its own defaults are weaker)."""
    import torchattacks  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: PLC0415

    common = {"norm": "Linf" if budget.norm is Norm.LINF else "L2", "eps": budget.radius}
    classes = found.model(found.batch.images[:1]).shape[1]
    model = found.model
    apgd = torchattacks.APGD(model, **common, steps=100 if steps is None else steps, n_restarts=1, seed=0)
    square = torchattacks.Square(model, **common, n_queries=5000 if steps is None else steps, seed=0)
    attacks = {
        "apgd": [apgd],
        "square": [square],
        "standard": [
            apgd,
            torchattacks.APGDT(model, **common, steps=100, n_restarts=1, n_classes=classes, seed=0),
            torchattacks.FAB(model, **common, steps=100, n_restarts=1, n_classes=classes, multi_targeted=True, seed=0),
            square,
        ],
    }[workload]
    attack = torchattacks.MultiAttack(attacks) if len(attacks) > 1 else attacks[0]
    size = batch_size or len(found.batch)

    with _counted(model) as counted:
        candidates, seconds = _timed(lambda: _in_parts(attack, found.batch, size), found.batch)
    per_step = _per_step(counted, seconds, workload)
    return Timing(found.name, workload, str(budget), "torchattacks", len(found.batch), accuracy(found, candidates),
                  seconds, per_step)  # fmt: skip


def _in_parts(attack: Callable[[Tensor, Tensor], Tensor], batch: Batch, size: int) -> Tensor:
    parts = zip(batch.images.split(size), batch.labels.split(size), strict=True)
    return torch.cat([attack(x, y) for x, y in parts])


def check_peer(name: str) -> None:
    """Check that a peer can be timed.

    Raises:
        InputError: if there is no such peer, or its package is not installed.
    """
    _peer(name)
    if name == "official":
        require("pyautoattack", "peer official")
    elif importlib.util.find_spec("torchattacks") is None:
        raise InputError("torchattacks is not installed; install it with: uv pip install --no-deps torchattacks")


def _peer(name: str) -> Callable[[Contestant, Budget, str, int | None, int | None], Timing]:
    known = {"official": _official, "torchattacks": _torchattacks}
    if name not in known:
        raise InputError(f"unknown peer {name!r}; expected one of {', '.join(known)}")
    return known[name]


@contextmanager
def _counted(model: Model) -> Iterator[Meter]:
    """Counts the images that go forward through ``model`` in this context, and the gradients that come back."""
    if not isinstance(model, nn.Module):
        raise InputError(f"a subject must be a module, got {type(model).__name__}")
    meter = Meter()

    def back(gradient: Tensor) -> None:
        meter.backwards += len(gradient)

    def see(_model: nn.Module, args: tuple[Tensor, ...], logits: Tensor) -> None:
        meter.forwards += len(args[0])
        if logits.requires_grad:
            logits.register_hook(back)

    handle = model.register_forward_hook(see)
    try:
        yield meter
    finally:
        handle.remove()


def _timed(work: Callable[[], Tensor], batch: Batch) -> tuple[Tensor, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wait(batch.images.device)
        began = time.perf_counter()
        out = work()
        wait(batch.images.device)
    return out, time.perf_counter() - began


def _per_step(meter: Meter, seconds: float, workload: str) -> float | None:
    """Milliseconds for one gradient of one image (apgd) or one query (square)."""
    steps = {"apgd": meter.backwards, "square": meter.forwards}.get(workload, 0)
    return 1000 * seconds / steps if steps else None


def _part(meter: Meter, one: Arithmetic, peak_flops: float) -> dict[str, float]:
    flops = one.total(meter.forwards, meter.backwards)
    return {
        "forwards": meter.forwards,
        "backwards": meter.backwards,
        "padding": meter.padding,
        "model_seconds": round(meter.model_seconds, 3),
        "outside_seconds": round(meter.outside_seconds, 3),
        "mfu": round(flops / meter.model_seconds / peak_flops, 4) if meter.model_seconds and flops else 0.0,
    }

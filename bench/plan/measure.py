"""Cost of a call of an architecture, without its weights: arithmetic and memory counted, time measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from bench.core.devices import forget_peak, on_host, peak_memory, wait
from bench.core.nouns import Precision
from bench.core.numerics import numerics

# Timed calls, after one warm-up call. Images per batch on a CPU, by the work per image: enough to fill it, but only a
# few seconds' worth. An accelerator gets the run's own batch.
_ROUNDS = 2
_HEAVY = 10**10
_FEW, _SOME = 2, 16


@dataclass(frozen=True)
class Architecture:
    """An architecture to be counted: ``build`` creates it with random weights.

    Attributes:
        name: Human-readable name.
        identity: Equal identities mean the same architecture.
        shape: (C, H, W) of an image.
        trains: Whether it is called for training: gradients go to the trainable weights, not to the image.
        members: Number of models of this architecture that answer together.
        build: Creates it with random weights; gradients are enabled for the trainable ones.
    """

    name: str = field(compare=False)
    identity: str
    shape: tuple[int, int, int]
    trains: bool = False
    members: int = 1
    build: Callable[[], nn.Module] = field(default=nn.Identity, compare=False, repr=False)


@dataclass(frozen=True)
class Counted:
    """Exact counts of one image through one architecture.

    Attributes:
        forward: Floating-point operations of matrix products and convolutions.
        backward: Those of the gradient.
        weights: Number of values in all parameters.
        trained: Number of trainable ones.
        kept: Bytes that autograd keeps per image.
        fixed: Bytes that it keeps independent of the batch, such as weights cast to bfloat16.
    """

    forward: int
    backward: int
    weights: int
    trained: int
    kept: int
    fixed: int


@dataclass(frozen=True)
class Clocked:
    """Seconds per image on this device: a forward alone, and the additional time of a gradient; and the memory peak.

    ``peak`` is the most memory of the device that was held with ``batch`` images; None on a CPU.
    """

    forward: float
    backward: float
    batch: int
    peak: int | None = None


def count(architecture: Architecture, precision: Precision) -> Counted:
    """Count with meta tensors (shapes without storage): the kernels are those of a CPU, nothing is computed."""
    from accelerate import init_empty_weights  # noqa: PLC0415 (seconds to import)

    with init_empty_weights():
        network = _ready(architecture)
    weights = [p.numel() for p in network.parameters()]
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    with FakeTensorMode(allow_non_fake_inputs=True):
        network.to_empty(device="cpu")
        one = _call(network, architecture, precision, 1)
        two = _call(network, architecture, precision, 2)
    kept = two[2] - one[2]
    n = architecture.members
    return Counted(one[0] * n, one[1] * n, sum(weights), trained, kept * n, max(one[2] - kept, 0))


def clock(architecture: Architecture, precision: Precision, counted: Counted, device: str, batch: int) -> Clocked:
    """Time a few calls of the architecture with random weights; on a CPU with few images.

    Raises:
        RuntimeError: if the device is not available, or too small.
    """
    kind = torch.device(device).type
    size = min(batch, _FEW if counted.forward > _HEAVY else _SOME) if on_host(device) else batch
    network = _ready(architecture).to(device)
    images = torch.rand(size, *architecture.shape, device=device)
    forget_peak(device)

    def forward() -> None:
        with torch.no_grad(), numerics(precision, kind):
            network(images)

    def gradient() -> None:
        x = images.clone().requires_grad_(not architecture.trains)
        with torch.enable_grad():
            with numerics(precision, kind):
                loss = network(x).float().sum()
            _backward(loss, x, architecture)

    ahead, both = _seconds(forward, device), _seconds(gradient, device)
    each = architecture.members / size
    return Clocked(ahead * each, max(both - ahead, 0.0) * each, size, peak_memory(device))


def _ready(architecture: Architecture) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        network = architecture.build()
    return network.train() if architecture.trains else network.eval().requires_grad_(False)


def _call(network: nn.Module, architecture: Architecture, precision: Precision, size: int) -> tuple[int, int, int]:
    """Operations of a forward and, for one image, its gradient; and the bytes kept between them for all images."""
    images = torch.zeros(size, *architecture.shape, requires_grad=not architecture.trains)
    own = {t.untyped_storage()._cdata for t in (*network.parameters(), *network.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage
        return tensor

    keeping = torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t)
    with FlopCounterMode(display=False) as ahead, keeping, numerics(precision, "cpu"):
        loss = network(images).float().sum()
    held = sum(storage.nbytes() for storage in kept.values())
    back = FlopCounterMode(display=False)
    if size == 1:
        with back:
            _backward(loss, images, architecture)
    return ahead.get_total_flops() // size, back.get_total_flops() // size, held


def _backward(loss: Tensor, images: Tensor, architecture: Architecture) -> None:
    if architecture.trains:
        loss.backward()
    elif loss.requires_grad:
        torch.autograd.grad(loss, images)


def _seconds(call: Callable[[], None], device: str) -> float:
    """The fastest of a few calls, after a warm-up call."""
    taken = []
    for _ in range(_ROUNDS + 1):
        began = time.perf_counter()
        call()
        wait(device)
        taken.append(time.perf_counter() - began)
    return min(taken[1:])

"""What is asked of a device: the CPU, or any accelerator of PyTorch, by the module that PyTorch has for it.

Nothing else in the project names a kind of accelerator. Questions that a device cannot answer have the answer None.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from bench.core.errors import InputError

T = TypeVar("T")
AnyDevice = str | torch.device


def on_host(device: AnyDevice) -> bool:
    """Whether it is the CPU: reading a value is free there, and nothing runs beside the caller."""
    return torch.device(device).type == "cpu"


def check_device(device: str, otherwise: str = "") -> None:
    """Check that a device can be used.

    Args:
        device: As the user gives it, such as ``cuda:1``.
        otherwise: What else the user could do, for the error.

    Raises:
        InputError: if it cannot.
    """
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError):
        raise InputError(f"device {device!r} is not available here; expected cpu, or cuda on a machine with a "
                         f"GPU{otherwise}") from None  # fmt: skip


def idle_gpu() -> str | None:
    """The name of a GPU that is here, whether it is used or not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about an old driver, which does not matter on the CPU
        return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def all_gpus(device: str) -> list[str]:
    """The GPUs that ``device`` leaves the choice of, as ``CUDA_VISIBLE_DEVICES`` names them; none if it is another."""
    if device != "cuda":
        return []
    given = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    count = torch.cuda.device_count()
    return (list(filter(None, given)) or [str(i) for i in range(count)])[:count]


def name_of(device: AnyDevice) -> str:
    """The product's name of an accelerator, or the name of the device."""
    said = None if on_host(device) else _ask(device, "get_device_name")
    return str(device if said is None else said)


def has_bf16(device: AnyDevice) -> bool:
    """Whether it is an accelerator that is here and computes in bfloat16."""
    try:
        return not on_host(device) and _module(device).is_available() and bool(_module(device).is_bf16_supported())
    except (RuntimeError, AttributeError):  # no such device, or one that does not tell
        return False


def memory(device: AnyDevice) -> tuple[int, int] | None:
    """Free bytes and all bytes of an accelerator."""
    found: tuple[int, int] | None = None if on_host(device) else _ask(device, "mem_get_info")
    return found


def wait(device: AnyDevice) -> None:
    """Wait until the device has done all that it was given."""
    if not on_host(device):
        _ask(device, "synchronize")


@contextmanager
def forked_random(device: AnyDevice) -> Iterator[None]:
    """Restore afterwards the global random numbers of the CPU and of the device."""
    there = torch.device(device)
    elsewhere: dict[str, Any] = {} if on_host(there) else {"device_type": there.type}
    with torch.random.fork_rng(devices=[] if on_host(there) else [there], **elsewhere):
        yield


def empty_cache(device: AnyDevice) -> None:
    """Return memory that PyTorch keeps on the device without use."""
    if not on_host(device):
        _module(device).empty_cache()


def forget_peak(device: AnyDevice) -> None:
    """From now on :func:`peak_memory` is that of what follows."""
    if not on_host(device):
        _ask(device, "reset_peak_memory_stats")


def peak_memory(device: AnyDevice) -> int | None:
    """The most bytes that PyTorch held on an accelerator since :func:`forget_peak`."""
    found: int | None = None if on_host(device) else _ask(device, "max_memory_allocated")
    return found


def uploaded(values: Tensor, device: AnyDevice) -> Tensor:
    """``values``, on the CPU, on the device, without waiting for what the device has to do."""
    return values if on_host(device) else values.pin_memory().to(device, non_blocking=True)


def can_record(device: AnyDevice) -> bool:
    """Whether the device can be given recorded work (:class:`Recorder`)."""
    return not on_host(device) and hasattr(_module(device), "CUDAGraph")


class Recorder:
    """Records work of a device, to launch it again without the host's part of it; all of it shares its memory.

    The work waits for nothing, and the memory of its tensors is the same in every launch. Memory of a recorded tensor
    that is no longer referred to may be that of another recorded tensor.
    """

    def __init__(self, device: AnyDevice) -> None:
        self._module, self._device = _module(device), torch.device(device)
        self._pool = self._module.graph_pool_handle()
        with self._module.device(self._device):
            self._stream = self._module.Stream()

    def warm(self, work: Callable[[], object], times: int = 3) -> None:
        """Do the work beforehand, so that what libraries make on first use is not recorded."""
        with self._module.device(self._device):
            now = self._module.current_stream()
            self._stream.wait_stream(now)
            with self._module.stream(self._stream):
                for _ in range(times):
                    work()
            now.wait_stream(self._stream)

    def record(self, work: Callable[[], T]) -> tuple[T, Callable[[], None]]:
        """What the work returns, once it is launched, and what launches it.

        Raises:
            RuntimeError: if it cannot be recorded: it waits for the device, or memory ran out.
        """
        graph = self._module.CUDAGraph()
        # Other threads, which read images, may use the device meanwhile.
        how = {"pool": self._pool, "stream": self._stream, "capture_error_mode": "thread_local"}
        with self._module.device(self._device), self._module.graph(graph, **how):
            made = work()
        return made, graph.replay


@dataclass
class Clock:
    """Seconds that a device spends in marked spans; on an accelerator read from events, which nothing waits for.

    Attributes:
        seconds: Of all spans that are settled.
    """

    seconds: float = 0.0
    _spans: list[tuple[Any, Any]] = field(default_factory=list, repr=False)

    def start(self, device: AnyDevice) -> Any:
        """Open a span; :meth:`stop` takes what is returned."""
        return time.perf_counter() if on_host(device) else _event(device)

    def stop(self, device: AnyDevice, started: Any) -> None:
        """Close a span."""
        if on_host(device):
            self.seconds += time.perf_counter() - started
        else:
            self._spans.append((started, _event(device)))

    def settle(self) -> float:
        """All seconds so far, and start at 0; waits for the last event, before which all others happened."""
        if self._spans:
            self._spans[-1][1].synchronize()
        self.seconds += sum(start.elapsed_time(end) for start, end in self._spans) / 1000
        self._spans.clear()
        taken, self.seconds = self.seconds, 0.0
        return taken


def _event(device: AnyDevice) -> Any:
    """An event on the device's own stream, recorded now."""
    event, stream = _module(device).Event(enable_timing=True), _ask(device, "current_stream")
    event.record(*(() if stream is None else (stream,)))
    return event


def _module(device: AnyDevice) -> Any:
    return torch.get_device_module(torch.device(device))


def _ask(device: AnyDevice, name: str) -> Any:
    """What the device's module answers about it; None if it does not know the question."""
    there = _module(device)
    known = getattr(there, name, None)
    if known is None:
        return None
    # Without an argument it is about the current device; a module for a single one may take no argument.
    return known(torch.device(device)) if there.device_count() > 1 else known()

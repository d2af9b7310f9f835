"""``torch.pretend``: the module that PyTorch finds for the device, with the questions that one asks of a GPU."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from tests.pretend.ledger import LEDGER


@dataclass
class Properties:
    """What the device is."""

    name: str = "Pretended Device"
    total_memory: int = 64 << 30
    multi_processor_count: int = 4


class Stream:
    """A queue of work; everything is done at once here, so that there is nothing to wait for."""

    def __init__(self, device: Any = None, priority: int = 0) -> None:
        self.device = torch.device("pretend", 0)

    def synchronize(self) -> None:
        """The host waits."""
        LEDGER.wait("synchronize")

    def wait_stream(self, other: Stream) -> None:
        """The device waits, the host does not."""

    def wait_event(self, event: Event) -> None:
        """The device waits, the host does not."""

    def record_event(self, event: Event | None = None) -> Event:
        """Note the time."""
        event = event or Event()
        event.record(self)
        return event

    def query(self) -> bool:
        """Whether all is done."""
        return True


class Event:
    """A moment on the device."""

    def __init__(self, enable_timing: bool = False, **_: Any) -> None:
        self._timed, self._at = enable_timing, None

    def record(self, stream: Stream | None = None) -> None:
        """Note the time, without waiting."""
        self._at = time.perf_counter()

    def synchronize(self) -> None:
        """The host waits."""
        LEDGER.wait("event")

    def query(self) -> bool:
        """Whether it has happened."""
        return self._at is not None

    def wait(self, stream: Stream | None = None) -> None:
        """The device waits, the host does not."""

    def elapsed_time(self, end: Event) -> float:
        """Milliseconds until ``end``; an event without timing, or one that was never recorded, raises as on a GPU."""
        if not (self._timed and end._timed) or self._at is None or end._at is None:
            raise ValueError("Both events must be recorded and created with argument enable_timing=True")
        return (end._at - self._at) * 1000


class Hook(torch._C._acc.PrivateUse1Hooks):
    """What PyTorch's own code asks."""

    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self._backend = backend

    def is_available(self) -> bool:
        return self._backend.used

    def has_primary_context(self, index: int) -> bool:
        return self._backend.used

    def is_built(self) -> bool:
        return True


class Graph:
    """Recorded operations, launched again at once on the memory that they had."""

    def __init__(self) -> None:
        self._work: list[Callable[[], None]] = []

    def note(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        """Record an operation that gave ``out``: again, its results go where they went."""
        given = {t.untyped_storage().data_ptr() for t in (*args, *kwargs.values()) if isinstance(t, torch.Tensor)}

        def again() -> None:
            news, olds = (x if isinstance(x, (tuple, list)) else (x,) for x in (func(*args, **kwargs), out))
            for new, old in zip(news, olds, strict=True):
                if isinstance(old, torch.Tensor) and old.untyped_storage().data_ptr() not in given:
                    old.copy_(new)

        self._work.append(again)

    def replay(self) -> None:
        """Do all of it again."""
        BACKEND.replays += 1
        for work in self._work:
            work()


class Backend:
    """The module; PyTorch asks the first names itself."""

    Event, Stream, CUDAGraph = Event, Stream, Graph

    def __init__(self) -> None:
        self.forked = False
        self.clear()
        os.register_at_fork(after_in_child=self._in_fork)

    def _in_fork(self) -> None:
        self.forked = self.started

    def clear(self) -> None:
        """Nothing was held, and memory has no end."""
        self.started = False  # whether it has computed; a fork cannot use it then
        self.used = False  # outside of the fixture it is not there
        self.most_rows: int | None = None  # a matrix product of more rows runs out of memory
        self.emptied = self.replays = 0
        self.recording: Graph | None = None
        self._top = 0

    def is_initialized(self) -> bool:
        return True

    def is_available(self) -> bool:
        return self.used

    def device_count(self) -> int:
        return 1

    def current_device(self) -> int:
        return 0

    def set_device(self, device: Any) -> None:
        pass

    def _is_in_bad_fork(self) -> bool:
        return self.forked

    def manual_seed_all(self, seed: int) -> None:
        pass  # its random numbers are those of the CPU's generator

    def manual_seed(self, seed: int) -> None:
        pass

    def get_rng_state(self, device: Any = 0) -> torch.Tensor:
        return torch.zeros(16, dtype=torch.uint8)

    def set_rng_state(self, state: torch.Tensor, device: Any = 0) -> None:
        pass

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]

    def is_bf16_supported(self) -> bool:
        return True

    def synchronize(self, device: Any = None) -> None:
        LEDGER.wait("synchronize")

    def current_stream(self, device: Any = None) -> Stream:
        return Stream()

    def default_stream(self, device: Any = None) -> Stream:
        return Stream()

    @contextmanager
    def stream(self, stream: Stream | None) -> Iterator[None]:
        yield

    @contextmanager
    def device(self, device: Any) -> Iterator[None]:
        yield

    def graph_pool_handle(self) -> tuple[int, int]:
        return (0, 1)

    @contextmanager
    def graph(self, graph: Graph, **_: Any) -> Iterator[None]:
        """Record what is done; what makes the host wait raises, as on a GPU."""
        self.recording, LEDGER.recording = graph, True
        try:
            yield
        finally:
            self.recording, LEDGER.recording = None, False

    def empty_cache(self) -> None:
        self.emptied += 1

    def get_device_name(self, device: Any = None) -> str:
        return Properties().name

    def get_device_properties(self, device: Any = None) -> Properties:
        return Properties()

    def mem_get_info(self, device: Any = None) -> tuple[int, int]:
        return Properties().total_memory // 2, Properties().total_memory

    def noted(self, tensors: list[torch.Tensor], rows: int) -> None:
        """An operation on these tensors, after which the peak is at least what they hold.

        Args:
            tensors: Its operands.
            rows: If it is a matrix product.

        Raises:
            torch.OutOfMemoryError: if the device is told that it has no room for so many rows.
        """
        if self.most_rows is not None and rows > self.most_rows:
            raise torch.OutOfMemoryError("pretended device out of memory")
        self._top = max(self._top, sum(t.nbytes for t in tensors))

    def reset_peak_memory_stats(self, device: Any = None) -> None:
        self._top = 0

    def max_memory_allocated(self, device: Any = None) -> int:
        return self._top


BACKEND = Backend()

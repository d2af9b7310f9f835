"""Check: the device, the threads, the clock."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import torch

from bench.core.devices import has_bf16, idle_gpu, memory, name_of, on_host
from bench.core.errors import InputError
from bench.doctor.examined import Examined, usable_cores
from bench.doctor.finding import Diagnosis, Topic, gigabytes, one_line

_DEVICE, _THREADS, _CLOCK = Topic("device"), Topic("threads"), Topic("clock")
_CGROUP = Path("/sys/fs/cgroup/memory.max")
_IDLE = 8  # cores per requested thread from which the setting is probably a mistake
_FIRST_YEAR = 2024  # of this package


def check(examined: Examined) -> Iterator[Diagnosis]:
    """The requested device computes correctly; an unused GPU is reported."""
    device = examined.question.resources.device
    yield _device(device)
    if device == "cpu" and (name := idle_gpu()):
        yield _DEVICE.warn(f"{name} is available but not used", "give --device cuda")
    yield _threads(device)
    now = datetime.now(UTC)
    if now.year < _FIRST_YEAR:
        yield _CLOCK.warn(f"it shows {now.date()}, which would be written to every record", "set the machine's clock")


def _device(device: str) -> Diagnosis:
    try:
        total = float((torch.ones(8, 8, device=device) @ torch.ones(8, 8, device=device)).sum())
    except (RuntimeError, AssertionError) as error:
        why = "this torch is built without CUDA" if torch.version.cuda is None else one_line(error)[:160]
        advice = "give --device cpu, or cuda on a machine with a GPU, its driver and a torch built for CUDA"
        return _DEVICE.fail(f"{device!r} cannot be used ({why})", advice)
    if total != 8.0**3:
        return _DEVICE.fail(
            f"{device!r} computes 8 x 8 ones times ones to {total}", "use another device; this one is faulty"
        )
    if on_host(device):
        own = _memory()
        return _DEVICE.ok(f"{device}: {usable_cores()} cores" + (f", {gigabytes(own)} memory" if own else ""))
    held = memory(device)
    room = f"{gigabytes(held[0])} of {gigabytes(held[1])} free, " if held else ""
    words = "has bf16" if has_bf16(device) else "no bf16, so --precision auto is fp32"
    return _DEVICE.ok(f"{device}: {name_of(device)}, {room}{words}")


def _threads(device: str) -> Diagnosis:
    asked, cores = os.environ.get("OMP_NUM_THREADS"), usable_cores()
    if asked is None:
        return _THREADS.ok(f"{torch.get_num_threads()} on {cores} cores")
    said = f"OMP_NUM_THREADS is {asked} on {cores} cores"
    try:
        threads = int(asked)
        if threads < 1:
            raise InputError("not positive")
    except (ValueError, InputError):
        return _THREADS.warn(f"OMP_NUM_THREADS is {asked!r}, expected a number", "unset it, or set it to the cores")
    if threads > cores:
        return _THREADS.warn(f"{said}, so threads compete for cores", f"unset it, or set it to {cores}")
    if device == "cpu" and threads * _IDLE <= cores:
        return _THREADS.warn(f"{said}, so most of them idle", f"unset it, or set it to {cores}")
    return _THREADS.ok(said)


def _memory() -> int | None:
    """Bytes available to this process: the machine's memory, or its container's limit."""
    try:
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on Linux
        return None
    try:
        return min(whole, int(_CGROUP.read_text("ascii")))
    except (OSError, ValueError):  # not in a container, or "max"
        return whole

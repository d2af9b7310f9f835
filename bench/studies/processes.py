"""Runs spread over local processes: with small models, one process leaves most cores idle."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, cast

import torch

from bench.core.errors import BenchError
from bench.core.parent import follow_parent
from bench.engine.means import Means

Task = Any  # the caller defines its meaning
TaskWork = Callable[[Task, Means], str | None]
_PATIENCE = 5  # seconds for a process to exit by itself


@dataclass
class _Worker:
    process: multiprocessing.process.BaseProcess
    line: Connection
    left: int = 0  # assigned tasks without a result


def spread(
    parts: Sequence[Sequence[Task]], work: TaskWork, means: Means, jobs: int, done: Callable[[str | None], None]
) -> None:
    """Do all tasks; the tasks of one part run in sequence in one process.

    A process whose parent was killed is killed too.

    Args:
        parts: Tasks that share models or images, and so belong together; picklable.
        work: Does one task; returns the error in one line, or None; a module-level function.
        means: The environment; processes do not report progress.
        jobs: Number of processes; they share the cores.
        done: Called for each completed task, in this process.

    Raises:
        BenchError: if a process died; completed tasks are kept.
    """
    spawn = multiprocessing.get_context("spawn")  # a fork would inherit locks of torch's threads
    threads = max(1, torch.get_num_threads() // jobs)
    waiting, workers = list(parts), list[_Worker]()
    try:
        for _ in range(min(jobs, len(parts))):
            here, there = spawn.Pipe()
            process = spawn.Process(target=_serve, args=(there, work, means.quiet, threads), daemon=True)
            with _quiet():
                process.start()
            there.close()
            workers.append(_Worker(process, here))
        while waiting or any(worker.left for worker in workers):
            for worker in workers:
                if not worker.left and waiting:
                    _give(worker, waiting.pop(0))
            busy = {id(worker.line): worker for worker in workers if worker.left}
            for line in wait([worker.line for worker in busy.values()]):
                done(_heard(busy[id(line)]))
    finally:
        for worker in workers:
            worker.line.close()
            if not worker.left:
                worker.process.join(_PATIENCE)  # it exits by itself and cleans up
            worker.process.terminate()
            worker.process.join()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence warnings in a new process: torch's own, and those about leftovers of a killed process."""
    before = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = "ignore::FutureWarning,ignore::UserWarning:multiprocessing.resource_tracker"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = before


def _give(worker: _Worker, part: Sequence[Task]) -> None:
    with suppress(OSError):  # of a process that died: _heard reports it
        worker.line.send(list(part))
    worker.left = len(part)


def _heard(worker: _Worker) -> str | None:
    try:
        said = cast("str | None", worker.line.recv())
    except (EOFError, OSError):
        worker.process.join(_PATIENCE)
        raise BenchError(
            f"a process of this command died (exit code {worker.process.exitcode}; out of memory?); finished work is "
            "kept: run the same command again to resume, with --jobs 1 in one process"
        ) from None
    worker.left -= 1
    return said


def _serve(line: Connection, work: TaskWork, means: Means, threads: int) -> None:
    follow_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the parent stops this process
    torch.set_num_threads(threads)
    try:
        while True:
            for task in line.recv():
                line.send(work(task, means))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return

"""Work spread over local processes: started, fed, heard and buried here, and nowhere else."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import Any, TypeVar

import torch

from bench.core.errors import BenchError
from bench.core.parent import follow_parent
from bench.core.plugins import Done, Lost

Item = TypeVar("Item")
Result = TypeVar("Result")
_PATIENCE = 5  # seconds for a process to exit by itself
_KILLED = -9


@dataclass
class _Worker:
    """A process with its line; ``item`` is a list with what it works on, empty while it waits."""

    process: multiprocessing.process.BaseProcess
    line: Connection
    place: Mapping[str, str]
    item: list[Any]
    knows: bool = False  # the work was sent to it


def spread(
    work: Callable[[Item], Result], items: Iterable[Item], places: Sequence[Mapping[str, str]]
) -> Generator[Done[Item, Result] | Lost[Item], None, None]:
    """Do the work on all items, in new processes, which are stopped when the iterator is closed.

    A process that dies is replaced while there are items. A process whose parent was killed is killed too.

    Args:
        work: Sent to each process once; picklable.
        items: Read when a process is free.
        places: The environment variables of each process; the processes share the cores.
    """
    waiting, workers, free = iter(items), list[_Worker](), list(places)
    threads = max(1, torch.get_num_threads() // len(places))
    try:
        while True:
            for worker in [w for w in workers if not w.item]:
                worker.item = next_item(waiting)
                _give(worker, work)
            while free and (item := next_item(waiting)):  # it gets the work when it says that it is ready
                workers.append(_started(free.pop(0), threads, item))
            busy = {id(worker.line): worker for worker in workers if worker.item}
            if not busy:
                return
            for line in wait([worker.line for worker in busy.values()]):
                worker = busy[id(line)]
                outcome = _heard(worker, work)
                if isinstance(outcome, Lost):
                    workers.remove(worker)
                    free.append(worker.place)
                if outcome is not None:
                    yield outcome
    finally:
        _bury(workers)


def next_item(waiting: Iterator[Item]) -> list[Item]:
    """The next item in a list, or an empty one."""
    for item in waiting:
        return [item]
    return []


def _started(place: Mapping[str, str], threads: int, item: list[Any]) -> _Worker:
    spawn = multiprocessing.get_context("spawn")  # a fork would inherit locks of torch's threads
    here, there = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(there, threads), daemon=True)
    # Warnings of torch's own, and those about leftovers of a killed process, are nobody's concern.
    silence = "ignore::FutureWarning,ignore::UserWarning:multiprocessing.resource_tracker"
    with _environment({**place, "OMP_NUM_THREADS": str(threads), "PYTHONWARNINGS": silence}):
        process.start()
    there.close()
    return _Worker(process, here, place, item)


@contextmanager
def _environment(more: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(more)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _give(worker: _Worker, work: Callable[[Any], Any]) -> None:
    if worker.item:
        with suppress(OSError):  # of a process that died: _heard says so
            worker.line.send((None if worker.knows else work, worker.item[0]))
        worker.knows = True


def _heard(worker: _Worker, work: Callable[[Any], Any]) -> Done[Any, Any] | Lost[Any] | None:
    """The outcome that a process reports; None if it is ready for its first item."""
    try:
        said, result = worker.line.recv()
    except (EOFError, OSError):
        worker.process.join(_PATIENCE)
        code = worker.process.exitcode
        return Lost(worker.item[0], f"exit code {code}{'; out of memory?' if code == _KILLED else ''}")
    if said == "ready":
        _give(worker, work)
        return None
    if said == "raised":
        raise result
    (item,), worker.item = worker.item, []
    return Done(item, result)


def _bury(workers: Sequence[_Worker]) -> None:
    """End all processes: those that wait end by themselves, the others let go of what they hold."""
    for worker in workers:
        worker.line.close()
        if worker.item:
            worker.process.terminate()
    for worker in workers:
        worker.process.join(_PATIENCE)
        worker.process.kill()
        worker.process.join()


def _serve(line: Connection, threads: int) -> None:
    follow_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the parent stops this process
    signal.signal(signal.SIGTERM, _stop)
    torch.set_num_threads(threads)
    work: Callable[[Any], Any] | None = None
    with suppress(EOFError, OSError):
        line.send(("ready", None))
        while True:
            sent, item = line.recv()
            work = work or sent
            line.send(_answer(work, item))


def _answer(work: Any, item: Any) -> tuple[str, Any]:
    try:
        return "done", work(item)
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))  # noqa: S301 (of this process)
        except Exception:  # whatever keeps an error from travelling
            return "raised", BenchError(f"{type(error).__name__}: {' '.join(str(error).split())}")
        return "raised", error


def _stop(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(128 + signal.SIGTERM)

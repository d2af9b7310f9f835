"""Ray: one actor per GPU of a cluster, or per share of its cores."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import torch

import bench
from bench.backends.processes import next_item
from bench.backends.ray_cluster import LOCAL, connected
from bench.core.errors import BenchError, InputError
from bench.core.plugins import Backend, Crew, Done, Lost

Item = TypeVar("Item")
Result = TypeVar("Result")
_POLL = 2.0  # seconds between looks at the nodes of the cluster
_STARTS = 3  # workers in a row that die before they work, until the cluster is given up


class Ray(Backend):
    """A Ray cluster at --address: one worker per GPU with --device cuda, else one per share of its cores."""

    package = "ray"

    address: str | None = None

    def check(self, crew: Crew) -> None:
        """Refuse a cluster that cannot be used, or has no node for such a worker.

        Raises:
            InputError: as :meth:`map`.
        """
        if self.address != LOCAL:
            with connected(self.address) as ray:
                _needs(crew, _alive(ray))

    def map(
        self, work: Callable[[Item], Result], items: Iterable[Item], crew: Crew
    ) -> Generator[Done[Item, Result] | Lost[Item], None, None]:
        """Outcomes as they become available; a node that joins is used, one that dies costs the items it had.

        Raises:
            InputError: if the cluster cannot be used, or has no node for such a worker.
            BenchError: if all nodes are gone.
        """
        with connected(self.address) as ray:
            yield from _Pool(ray, work, crew).outcomes(iter(items))


class _Pool:
    """The actors of one map: an idle one takes an item, a dead one costs its item and is replaced."""

    def __init__(self, ray: Any, work: Callable[[Any], Any], crew: Crew) -> None:
        errors = ray.exceptions
        self._deaths = (errors.RayActorError, errors.OutOfMemoryError, errors.NodeDiedError, errors.WorkerCrashedError,
                        errors.ObjectLostError)  # fmt: skip
        self._ray, self._work, self._most = ray, work, crew.workers
        self._needs = _needs(crew, _alive(ray))
        self._starting: dict[Any, Any] = {}  # actors by what they have to answer
        self._busy: dict[Any, tuple[Any, Any]] = {}  # the same, with their items
        self._idle: list[Any] = []
        self._failed, self._looked = 0, 0.0

    def outcomes(self, waiting: Iterator[Any]) -> Iterator[Done[Any, Any] | Lost[Any]]:
        """Outcomes of all items; an item is read when an actor is free, or all are starting."""
        hand: list[Any] = []
        while True:
            while (self._idle or not self._busy) and (hand := hand or next_item(waiting)) and self._idle:
                actor, item = self._idle.pop(), hand.pop()
                self._busy[actor.do.remote(item)] = actor, item
            if not (hand or self._busy):
                return
            self._grow()
            yield from self._heard()

    def _grow(self) -> None:
        """Start an actor in every free place, also of new nodes."""
        if time.monotonic() - self._looked < _POLL:
            return
        self._looked = time.monotonic()
        places = _places(self._needs, _alive(self._ray))
        if not places:
            raise BenchError("no node of the Ray cluster is left for such a worker; what is finished is kept, and the "
                             "same command makes the rest")  # fmt: skip
        there = len(self._starting) + len(self._idle) + len(self._busy)
        for _ in range(min(places, self._most or places) - there):
            actor = self._ray.remote(_Worker).options(**self._needs, scheduling_strategy="SPREAD").remote()
            self._starting[actor.begin.remote(bench.__version__, self._needs["num_cpus"], self._work)] = actor

    def _heard(self) -> Iterator[Done[Any, Any] | Lost[Any]]:
        """What an actor answered in the meantime."""
        for ref in self._ray.wait([*self._starting, *self._busy], timeout=_POLL)[0]:
            if ref in self._starting:
                self._begun(ref, self._starting.pop(ref))
                continue
            actor, item = self._busy.pop(ref)
            try:
                result = self._answer(ref)
            except self._deaths as error:
                self._looked = 0.0  # its place is free now
                yield Lost(item, _why(error))
            else:
                self._idle.append(actor)
                yield Done(item, result)

    def _begun(self, ref: Any, actor: Any) -> None:
        try:
            self._answer(ref)
        except self._ray.exceptions.RayError as error:
            self._failed += 1
            if not isinstance(error, self._deaths) or "creation task" in str(error) or self._failed == _STARTS:
                raise BenchError(f"workers do not start on the Ray cluster ({_why(error)}); expected this package and "
                                 "its plug-ins on every node, installed alike") from None  # fmt: skip
        else:
            self._failed = 0
            self._idle.append(actor)

    def _answer(self, ref: Any) -> Any:
        """The answer of an actor; what it raised is raised here."""
        try:
            return self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            cause = error.cause
            if not isinstance(cause, Exception):
                raise BenchError(_why(error)) from None
            if not isinstance(cause, BenchError):
                cause.add_note(str(error))  # its traceback
            raise cause from None


class _Worker:
    """An actor: has the work in memory, and does it on one item at a time."""

    def begin(self, version: str, cores: float, work: Callable[[Any], Any]) -> None:
        if bench.__version__ != version:
            raise InputError(f"a node of the Ray cluster has keybench {bench.__version__}; expected {version}, as here")
        if cores:
            torch.set_num_threads(int(cores))
        self._work = work

    def do(self, item: Any) -> Any:
        return self._work(item)


def _alive(ray: Any) -> list[dict[str, float]]:
    """The resources of every node."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _needs(crew: Crew, nodes: Sequence[dict[str, float]]) -> dict[str, float]:
    """What an actor needs: a GPU, or the cores that this process computes with, which makes the same arithmetic.

    Raises:
        InputError: if no node has it.
    """
    if crew.device.startswith("cuda:"):
        raise InputError(f"backend ray gives each worker a GPU of its own; expected --device cuda, not {crew.device}")
    if crew.device == "cuda":
        needs, what = {"num_gpus": 1.0, "num_cpus": 0.0}, "GPU; expected --device cpu, or a node with a GPU"
    else:
        most = max((node.get("CPU", 0.0) // 1 for node in nodes), default=0.0)
        needs = {"num_cpus": min(float(torch.get_num_threads()), most)}
        what = "CPU for this; expected `ray start --num-cpus` of 1 or more"
    if not _places(needs, nodes):
        raise InputError(f"no node of the Ray cluster ({len(nodes)} alive) has a {what}")
    return needs


def _places(needs: dict[str, float], nodes: Sequence[dict[str, float]]) -> int:
    """How many actors fit on the nodes together."""
    name, each = ("GPU", needs["num_gpus"]) if "num_gpus" in needs else ("CPU", needs["num_cpus"])
    return sum(int(node.get(name, 0.0) // each) for node in nodes) if each else 0


def _why(error: BaseException) -> str:
    """The sentence of Ray's message that says what happened."""
    text = " ".join(str(error).split())
    found = re.search(r"actor (?:is dead|died) because ([^.]*)|(\w+Error: .*)", text)
    return (next(filter(None, found.groups())) if found else text)[:200].rstrip(".")

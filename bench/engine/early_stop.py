"""Early stopping of runs: which shards are judged, and which interval is reported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bench.checks.statistics import ConfidenceSequence, TwoPhase
from bench.core.spec import Spec
from bench.engine.shards import Shard
from bench.engine.two_phases import last_needed


class Enough:
    """The shards of a run: all, or in order until the interval is narrow enough; see two_phases.py for ``--estimate``.

    Args:
        spec: Gives the precision, if any.
        population: Total number of images.
    """

    def __init__(self, spec: Spec, population: int) -> None:
        self._rule, self._phase = _rule(spec, population), -(-population // spec.shard_size)
        self._two = TwoPhase(spec.estimate) if spec.estimate else None
        self._shards = range(self._phase * (2 if self._two else 1))

    def wanted(self, missing: list[int], done: Mapping[int, Shard]) -> Iterator[int]:
        """The next shards to make, while more are needed; ``done`` grows in the meantime."""
        for index in missing:
            if self._cut(done) is not None:
                return
            yield index

    def taken(self, done: Mapping[int, Shard]) -> list[Shard]:
        """The shards that count."""
        cut = self._cut(done)
        return [done[index] for index in (self._shards if cut is None else self._shards[: cut + 1])]

    def _cut(self, done: Mapping[int, Shard]) -> int | None:
        """The first shard after which the precision is reached, with all earlier shards present."""
        if self._two:
            return last_needed(self._two, done, self._phase)
        robust = images = 0
        for index in self._shards if self._rule else ():
            if index not in done:
                return None
            rows = done[index].rows
            robust, images = robust + sum(r.robust for r in rows), images + len(rows)
            if self._rule and self._rule.done(robust, images):
                return index
        return None


def sequence_of(spec: Spec, n: int, population: int) -> ConfidenceSequence | TwoPhase | None:
    """The sequence for the interval of a run with early stopping or in two phases, None for other runs.

    The interval is for the accuracy on all images or, if all were judged, on the population that they sample.
    """
    if spec.estimate is not None:
        return TwoPhase(spec.estimate)
    if spec.stop_at is None:
        return None
    return ConfidenceSequence(spec.stop_at, population=population if n < population else None)


def stopped(spec: Spec, n: int, population: int) -> list[str]:
    """The record's note on where a run with early stopping ended; empty for other runs."""
    if spec.stop_at is None:
        return []
    held = "stays valid under repeated inspection"
    if n == population:
        return [f"all {n} images were judged before the interval was {spec.stop_at:g} points to either side; it {held}"]
    ended = f"the run stopped after {n} of {population} images in random order, {spec.stop_at:g} points to either side"
    return [f"{ended}; the interval is for the accuracy on all of them and {held}"]


def _rule(spec: Spec, population: int) -> ConfidenceSequence | None:
    """The stopping rule of a run: the interval is for the accuracy on all its ``population`` images."""
    return ConfidenceSequence(spec.stop_at, population=population) if spec.stop_at else None

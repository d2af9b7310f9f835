"""Runs that may end early: which shards are judged, and whose interval is reported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bench.checks.statistics import ConfidenceSequence
from bench.core.spec import Spec
from bench.engine.shards import Shard


class Enough:
    """Which shards a run takes: all, or as many in their order as make the interval narrow enough.

    Args:
        spec: Says how narrow, if at all.
        population: Images in all.
    """

    def __init__(self, spec: Spec, population: int) -> None:
        self._rule, self._shards = _rule(spec, population), range(-(-population // spec.shard_size))

    def wanted(self, missing: list[int], done: Mapping[int, Shard]) -> Iterator[int]:
        """The next shards to make, while more are needed; ``done`` grows meanwhile."""
        for index in missing:
            if self._cut(done) is not None:
                return
            yield index

    def taken(self, done: Mapping[int, Shard]) -> list[Shard]:
        """The shards that count."""
        cut = self._cut(done)
        return [done[index] for index in (self._shards if cut is None else self._shards[: cut + 1])]

    def _cut(self, done: Mapping[int, Shard]) -> int | None:
        """The first shard after which it is enough, all before it being there."""
        robust = images = 0
        for index in self._shards if self._rule else ():
            if index not in done:
                return None
            rows = done[index].rows
            robust, images = robust + sum(r.robust for r in rows), images + len(rows)
            if self._rule and self._rule.done(robust, images):
                return index
        return None


def sequence_of(spec: Spec, n: int, population: int) -> ConfidenceSequence | None:
    """Whose interval a run reports that may end early, None for one that may not.

    It is for the figure of all images, or, where all were judged, for that of what they are a sample of.
    """
    if spec.stop_at is None:
        return None
    return ConfidenceSequence(spec.stop_at, population=population if n < population else None)


def stopped(spec: Spec, n: int, population: int) -> list[str]:
    """What a reader of the record must know of where a run ended that may end early; empty for one that may not."""
    if spec.stop_at is None:
        return []
    held = "holds however often it was looked at"
    if n == population:
        return [f"all {n} images were judged before the interval was {spec.stop_at:g} points to either side; it {held}"]
    ended = f"the run ended after {n} of {population} images in random order, {spec.stop_at:g} points to either side"
    return [f"{ended}; the interval is for the figure of all of them and {held}"]


def _rule(spec: Spec, population: int) -> ConfidenceSequence | None:
    """When a run may end early: the interval is for the figure of all its ``population`` images."""
    return ConfidenceSequence(spec.stop_at, population=population) if spec.stop_at else None

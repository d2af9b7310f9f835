"""The judge of one run: verdicts on the target, and whether they agree with everything else that the model answers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from torch import Generator, Tensor

from bench.core.nouns import Batch, Trained
from bench.core.seeds import seed_of
from bench.engine.agreement import Agreement, found_of_agreement, judged_beside_the_attack
from bench.engine.answering import Answering, AnsweringHere
from bench.engine.apart import answering_of, from_outside
from bench.engine.candidates import Candidates
from bench.engine.comparison import Asking, compare
from bench.engine.judge import Judged, decide
from bench.engine.query_oracle import QueryOracle
from bench.engine.world import World
from bench.store.record import Found

if TYPE_CHECKING:
    from bench.engine.shards import Shard

_NAME = "judge"  # in what is kept about a shard


class Judging:
    """Judges the shards of one run.

    Args:
        world: The deployment.
        source: The model that the attacks saw.
        isolate: Whether the target answers in a process of its own; None: if code from outside is in it.
    """

    def __init__(self, world: World, source: Trained, isolate: bool | None) -> None:
        self._world, self._source = world, source
        self._outside = from_outside(world)
        self.isolated = self._outside if isolate is None else isolate
        self._started: list[Answering] = []

    @cached_property
    def answering(self) -> Answering:
        """The target, as it answers the judge; its process starts here if it has one."""
        self._started.append(answering_of(self._world, self.isolated))
        return self._started[0]

    def judge(
        self, index: int, batch: Batch, tried: Candidates, more: Sequence[Tensor]
    ) -> tuple[Judged, dict[str, Any]]:
        """The verdicts of a shard, and what is known of their agreement with other answers.

        Args:
            index: Number of the shard.
            batch: Clean images with labels and ids.
            tried: The candidates.
            more: Further versions of the images, for :func:`bench.engine.judge.decide`.
        """
        spec, answering = self._world.spec, self.answering
        judged = decide(answering, batch, tried.images, spec.budget, more)
        if spec.budget.eps == 0:
            return judged, {}
        same = self._source.digest == self._world.target.digest or isinstance(self._source.model, QueryOracle)
        rows = spec.profile.judge_batch
        here = answering if isinstance(answering, AnsweringHere) else AnsweringHere(self._world.target.model, rows)
        asking = Asking(answering, here, rows, Generator().manual_seed(seed_of(spec.seed, "ask again", index) % 2**63))
        counts = compare(judged, batch, tried.images, tried.margins if same else None, asking)
        return judged, {_NAME: counts.about()}

    def found(self, shards: Sequence[Shard], audit: Sequence[Found]) -> list[Found]:
        """The findings on the judge, for the record; none if nothing was attacked."""
        counts = Agreement()
        for shard in shards:
            counts.add(Agreement(**shard.about.get(_NAME, {})))
        if not counts.again:
            return []
        found = [found_of_agreement(counts, self._world.spec.profile.judge_batch, audit)]
        return found + [judged_beside_the_attack()] * (self._outside and not self.isolated)

    def close(self) -> None:
        """End the process of the target, if it was started."""
        for answering in self._started:
            answering.close()

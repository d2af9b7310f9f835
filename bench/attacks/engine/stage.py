"""One attack with its verdicts: the search may round differently, what it calls fooled is measured exactly."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch

from bench.attacks.engine.batching import Ladder, measured
from bench.attacks.engine.keeper import Keep
from bench.attacks.engine.oracle import Oracle
from bench.attacks.engine.scheduler import Scheduler
from bench.attacks.engine.types import Finished, Guest, Seeds, StepAttack
from bench.core.cost import Meter
from bench.core.nouns import Precision

if TYPE_CHECKING:
    from bench.core.nouns import Model


@dataclass
class Stage:
    """One attack over a stream of images, every claim confirmed by the true model in float32.

    An image whose claim is refuted is attacked again in float32 from its first step, so its outcome is exactly that of
    a run in float32.

    Attributes:
        attack: What steps the rows.
        model: The true model.
        search: What the search calls: the model or a faster copy of it.
        ladder: Batch shapes.
        seeds: Seed of an image's stream.
        keep: Which point is handed back; ``first`` also ends an image at once.
        precision: That of the search.
        period: Steps between looks at who is fooled.
        halt: Set to end the attack.
    """

    attack: StepAttack
    model: Model
    search: Model
    ladder: Ladder
    seeds: Seeds
    keep: Keep = "first"
    precision: Precision = Precision.FP32
    period: int = 1
    halt: threading.Event | None = None
    meter: Meter = field(default_factory=Meter)
    _refuted: list[Guest] = field(default_factory=list)

    def run(self, source: Iterator[Guest]) -> Iterator[Finished]:
        """Attack every image of ``source``; see :meth:`Scheduler.run`."""
        search = self._scheduler(self.search, self.precision)
        exact = self.precision is Precision.FP32 and self.search is self.model
        claims: list[Finished] = []
        for result in search.run(source):
            if not result.fooled or exact:
                yield result
                continue
            claims.append(result)
            if len(claims) >= self.ladder.slots:
                yield from self._confirmed(claims)
                claims = []
            if len(self._refuted) >= self.ladder.slots:
                yield from self._again()
        yield from self._confirmed(claims)
        yield from self._again()
        search.oracle.settle()

    def _scheduler(self, model: Model, precision: Precision) -> Scheduler:
        oracle = Oracle(model, precision, self.meter, halt=self.halt)
        return Scheduler(self.attack, oracle, replace(self.ladder), self.seeds, self.keep, self.period)

    def _confirmed(self, claims: list[Finished]) -> Iterator[Finished]:
        """The claims that float32 bears out; the others are noted for another attack."""
        points = [claim.candidate for claim in claims if claim.candidate is not None]
        if not points:
            return
        oracle = Oracle(self.model, Precision.FP32, self.meter, halt=self.halt)
        predictions = measured(oracle.logits, torch.stack(points), replace(self.ladder)).argmax(1).tolist()
        oracle.settle()
        self.meter.claims += len(claims)
        for claim, prediction in zip(claims, predictions, strict=True):
            if prediction != claim.guest.label:
                yield claim
            else:
                self.meter.refuted += 1
                self._refuted.append(claim.guest)

    def _again(self) -> Iterator[Finished]:
        """Attack the refuted images in float32."""
        guests, self._refuted = self._refuted, []
        exact = self._scheduler(self.model, Precision.FP32)
        for result in exact.run(iter(guests)):
            self.meter.recovered += result.fooled
            yield result
        exact.oracle.settle()

"""One attack with its verdicts: the search may round differently, claims are confirmed exactly."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch

from bench.attacks.autoattack.batching import FLOOR, BatchShapes, measured
from bench.attacks.autoattack.conduct import Conduct
from bench.attacks.autoattack.losses import margin
from bench.attacks.autoattack.oracle import Oracle
from bench.attacks.autoattack.queue import Queue, Seat
from bench.attacks.autoattack.scheduler import Scheduler
from bench.attacks.autoattack.threads import in_threads
from bench.attacks.autoattack.types import Finished, Guest, Seeds, StepAttack
from bench.core.cost import Meter
from bench.core.nouns import Precision

if TYPE_CHECKING:
    from bench.core.nouns import Model


@dataclass
class Stage:
    """Runs one attack on a list of images and confirms every claim with the true model in float32.

    An image whose claim is refuted is attacked again in float32 from its first step, so its outcome is exactly that of
    a run in float32.

    Attributes:
        attack: Steps the rows.
        model: The true model.
        search: The model that the search calls: the true model or a faster copy of it.
        seeds: Seed of an image's stream; each run of an attack continues the stream of the previous run.
        conduct: Slots, precision and the like.
        halt: Set to end the attack.
    """

    attack: StepAttack
    model: Model
    search: Model
    seeds: Seeds
    conduct: Conduct
    halt: threading.Event = field(default_factory=threading.Event)
    meter: Meter = field(default_factory=Meter)

    def run(self, guests: Sequence[Guest]) -> list[Finished]:
        """Attack every image."""
        began = time.perf_counter()
        precision = self.conduct.precision
        results = self._searched(guests, self.search, precision)
        if precision is not Precision.FP32 or self.search is not self.model:
            results, refuted = self._confirmed(results)
            again = self._searched(refuted, self.model, Precision.FP32)
            self.meter.recovered += sum(result.fooled for result in again)
            results += again
        self.meter.fooled += sum(result.fooled for result in results)
        self.meter.seconds += time.perf_counter() - began
        return results

    def _searched(self, guests: Sequence[Guest], model: Model, precision: Precision) -> list[Finished]:
        """Attack ``guests`` with ``model``, in threads that share them."""
        if not guests:
            return []
        seats = [Seat(guest, torch.Generator().manual_seed(self._seed(guest))) for guest in guests]
        threads = min(self.conduct.threads, len(seats))
        queue, results, meters = Queue(seats, threads, self.halt), list[Finished](), list[Meter]()

        def work() -> None:
            oracle = Oracle(model, precision, halt=self.halt)
            meters.append(oracle.meter)
            step = 2 if threads > 1 else FLOOR
            shapes = BatchShapes(-(-self.conduct.slots // threads), step=step, climbing=self.conduct.climbing)
            scheduler = Scheduler(
                self.attack, oracle, shapes, self.conduct.keep, self.conduct.period, self.conduct.ahead
            )
            results.extend(scheduler.run(queue))
            oracle.settle()

        in_threads(work, threads, self.halt)
        for meter in meters:  # of parallel threads: together they take as much clock time as one
            self.meter.add(replace(meter, model_seconds=meter.model_seconds / threads))
        return results

    def _seed(self, guest: Guest) -> int:
        return self.seeds(guest.id, self.attack.name, 0)

    def _confirmed(self, results: list[Finished]) -> tuple[list[Finished], list[Guest]]:
        """Results with a claim that float32 confirms, and the images with refuted claims."""
        claims = [result for result in results if result.fooled]
        points = [claim.candidate for claim in claims if claim.candidate is not None]
        if not points:
            return results, []
        oracle = Oracle(self.model, Precision.FP32, self.meter, halt=self.halt)
        shapes = BatchShapes(self.conduct.slots, climbing=self.conduct.climbing)
        logits = measured(oracle.logits, torch.stack(points), shapes)
        oracle.settle()
        exact = margin(logits, torch.tensor([claim.guest.label for claim in claims], device=logits.device)).tolist()
        pairs = zip(claims, logits.argmax(1).tolist(), strict=True)
        right = {claim.guest.position for claim, prediction in pairs if prediction == claim.guest.label}
        seen = {claim.guest.position: -value for claim, value in zip(claims, exact, strict=True)}
        self.meter.claims += len(claims)
        self.meter.refuted += len(right)
        kept = [
            replace(result, margin=seen.get(result.guest.position, result.margin))
            for result in results
            if result.guest.position not in right
        ]
        return kept, [claim.guest for claim in claims if claim.guest.position in right]

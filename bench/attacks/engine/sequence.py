"""Attacks one after the other, as a pipeline: an image goes to the next one only while it stands."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

import torch

from bench.attacks.engine.batching import Ladder, measured
from bench.attacks.engine.keeper import Keep
from bench.attacks.engine.oracle import Oracle, frozen
from bench.attacks.engine.search import search_model
from bench.attacks.engine.stage import Stage
from bench.attacks.engine.types import Finished, Guest, Seeds, StepAttack
from bench.attacks.engine.workers import Shared, in_threads, locked
from bench.core.cost import Meter
from bench.core.nouns import Batch, Precision

if TYPE_CHECKING:
    from bench.core.nouns import Model

Emit = Callable[[Finished], None]


@dataclass(frozen=True)
class Conduct:
    """How a sequence is run.

    Attributes:
        slots: Images at a time per attack.
        keep: See :class:`bench.attacks.engine.scheduler.Scheduler`.
        precision: Precision of the search; verdicts are in float32.
        misclassified: Whether images that the source misclassifies are attacked too.
        period: Steps between looks at who is fooled.
        workers: Threads side by side, each with its share of the slots.
        climbing: Whether smaller batch shapes may be used when few images are left.
    """

    slots: int
    keep: Keep = "first"
    precision: Precision = Precision.FP32
    misclassified: bool = False
    period: int = 1
    workers: int = 1
    climbing: bool = True


def run_sequence(
    attacks: Sequence[StepAttack],
    model: Model,
    batches: Iterable[Batch],
    seeds: Seeds,
    conduct: Conduct,
    emit: Emit,
) -> dict[str, Meter]:
    """Attack every image of ``batches``, read as slots become free, with each attack in turn while it stands.

    Each attack has its own slots and draws its images from the survivors of the one before, so that all batches stay
    full until the images run out; memory is bounded by slots times attacks.

    Args:
        attacks: In order.
        model: Images in [0, 1] to logits; its weights are frozen meanwhile.
        batches: The images, of any sizes.
        seeds: Seed of an image's stream in an attack.
        conduct: Slots, precision and the like.
        emit: Called once per image as its fate is decided. An image that the model misclassifies as it is comes as
            fooled without a candidate, unless such images are attacked.

    Returns:
        The meter of each attack; ``clean`` for the first look at the images.
    """
    halt, merged, emit = threading.Event(), dict[str, Meter](), locked(emit)
    slots = -(-conduct.slots // conduct.workers)
    ladder = Ladder(slots, climbing=conduct.climbing)
    clean = Meter()
    with frozen(model):
        oracle = Oracle(model, meter=clean, halt=halt)
        arrivals = Shared(_arrivals(oracle, batches, ladder, conduct.misclassified, emit))
        search = search_model(model, conduct.precision)

        def collect(meters: dict[str, Meter]) -> None:
            for name, meter in meters.items():
                merged.setdefault(name, Meter()).add(meter)

        add = locked(collect)

        def work() -> None:
            meters = _pipeline(attacks, model, search, arrivals, replace(ladder), seeds, conduct, halt, emit)
            add(meters)

        in_threads(work, conduct.workers, halt)
    clean.seconds = clean.model_seconds
    for meter in merged.values():  # of threads side by side: as much of the clock as one of them
        meter.seconds, meter.model_seconds = meter.seconds / conduct.workers, meter.model_seconds / conduct.workers
    return {"clean": clean, **merged}


def _pipeline(
    attacks: Sequence[StepAttack],
    model: Model,
    search: Model,
    stream: Iterator[Guest],
    ladder: Ladder,
    seeds: Seeds,
    conduct: Conduct,
    halt: threading.Event,
    emit: Emit,
) -> dict[str, Meter]:
    """All attacks over the images that one thread draws from ``stream``."""
    meters = {}
    for attack in attacks:
        stage = Stage(attack, model, search, ladder, seeds, conduct.keep, conduct.precision, conduct.period, halt)
        meters[attack.name] = stage.meter
        stream = _survivors(stage, stream, emit)
    for guest in stream:
        score, candidate = guest.best or (-float("inf"), None)
        emit(Finished(guest, False, candidate, score))
    return meters


def _arrivals(
    oracle: Oracle, batches: Iterable[Batch], ladder: Ladder, misclassified: bool, emit: Emit
) -> Iterator[Guest]:
    """The images with their clean logits, a batch of slots at a time."""
    position = 0
    for batch in batches:
        for start in range(0, len(batch), ladder.top):
            part = batch.take(range(start, min(start + ladder.top, len(batch))))
            logits = measured(oracle.logits, part.images.float(), ladder)
            right = (logits.argmax(1) == part.labels).tolist()
            for row, label in enumerate(part.labels.tolist()):
                guest = Guest(position, part.ids[row], part.images[row].float(), label, logits[row])
                position += 1
                if right[row] or misclassified:
                    yield guest
                else:
                    emit(Finished(guest, True))
    oracle.settle()


def _survivors(stage: Stage, source: Iterator[Guest], emit: Emit) -> Iterator[Guest]:
    first = next(source, None)
    if first is None:
        return
    source = chain([first], source)
    if not stage.attack.runs(len(first.logits)):
        for guest in source:
            stage.meter.skipped += 1
            yield guest
        return
    for result in stage.run(source):
        guest = result.guest
        if result.fooled:
            emit(result)
        elif result.candidate is not None and (guest.best is None or result.score > guest.best[0]):
            yield replace(guest, best=(result.score, result.candidate))
        else:
            yield guest


def collected(batch: Batch, results: Iterable[Finished]) -> torch.Tensor:
    """Candidates in the order of ``batch``; images without one stay clean."""
    candidates = batch.images.clone()
    for result in results:
        if result.candidate is not None:
            candidates[result.guest.position] = result.candidate.to(candidates.dtype)
    return candidates

"""Attacks in sequence: an image continues to the next one only while it remains robust."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from bench.attacks.autoattack.batching import BatchShapes, measured
from bench.attacks.autoattack.conduct import Conduct
from bench.attacks.autoattack.oracle import Oracle, frozen
from bench.attacks.autoattack.search import Search
from bench.attacks.autoattack.stage import Stage
from bench.attacks.autoattack.types import Finished, Guest, Seeds, StepAttack
from bench.core.cost import Meter
from bench.core.nouns import Batch, Precision

if TYPE_CHECKING:
    from bench.core.nouns import Model

Emit = Callable[[Finished], None]
# Images that are loaded together, as a multiple of the slots.
_WINDOW = 4


def run_sequence(
    attacks: Sequence[StepAttack],
    model: Model,
    batches: Iterable[Batch],
    seeds: Seeds,
    conduct: Conduct,
    emit: Emit,
) -> dict[str, Meter]:
    """Attack every image of ``batches``, which are read lazily, with each attack in turn while it remains robust.

    Args:
        attacks: In order.
        model: Images in [0, 1] to logits; its weights are frozen meanwhile.
        batches: The images, in batches of any size; small ones are combined to fill the slots.
        seeds: Seed of an image's stream in an attack.
        conduct: Slots, precision and the like.
        emit: Called once per image when it is decided. An image that the model misclassifies clean is emitted as
            fooled without a candidate, unless such images are attacked.

    Returns:
        The meter of each attack; ``clean`` for the clean evaluation of the images.
    """
    clean, meters = Meter(), {attack.name: Meter() for attack in attacks}
    with frozen(model):
        search: Search | None = None
        for guests in _windows(batches, conduct.slots):
            if search is None:
                search = Search(model, conduct.precision, torch.stack([guest.image for guest in guests[:20]]))
            standing = []
            for guest in _first_look(guests, model, search.copy, conduct, clean):
                if guest.misclassified and not conduct.misclassified:
                    emit(Finished(guest, True))
                else:
                    standing.append(guest)
            for attack in attacks:
                runs = attack.runs(len(standing[0].logits)) if standing else 0
                if not runs:
                    meters[attack.name].skipped += len(standing)
                    continue
                quick = search.for_calls(runs * attack.steps)
                stage = Stage(attack, model, quick, seeds, conduct, meter=meters[attack.name])
                standing = _survivors(stage, standing, emit)
            for guest in standing:
                emit(guest.best or Finished(guest, False))
        if search is not None and search.not_captured:
            warnings.warn(f"the search's calls were not captured for the device: {search.not_captured}", stacklevel=2)
    clean.seconds = clean.model_seconds
    return {"clean": clean, **meters}


def _windows(batches: Iterable[Batch], slots: int) -> Iterator[list[Guest]]:
    """Images to attack together: whole batches, enough to fill every slot a few times."""
    window, position = list[Guest](), 0
    for batch in batches:
        for row, (image, label) in enumerate(zip(batch.images, batch.labels.tolist(), strict=True)):
            window.append(Guest(position, batch.ids[row], image.float(), label))
            position += 1
        if len(window) >= _WINDOW * slots:
            yield window
            window = []
    if window:
        yield window


def _first_look(guests: list[Guest], model: Model, search: Model, conduct: Conduct, meter: Meter) -> list[Guest]:
    """The images with their clean logits: from the search, or from the true model if the search calls one wrong."""
    quick = Oracle(search, conduct.precision, meter)
    logits = _looked(quick, [guest.image for guest in guests], conduct)
    seen = [replace(guest, logits=row) for guest, row in zip(guests, logits, strict=True)]
    if conduct.precision is Precision.FP32 and search is model:
        return seen
    doubtful = [row for row, guest in enumerate(seen) if guest.misclassified]
    if doubtful:
        exact = _looked(Oracle(model, meter=meter), [guests[row].image for row in doubtful], conduct)
        for row, true in zip(doubtful, exact, strict=True):
            seen[row] = replace(guests[row], logits=true)
    return seen


def _looked(oracle: Oracle, images: list[torch.Tensor], conduct: Conduct) -> torch.Tensor:
    shapes, before = BatchShapes(conduct.slots, climbing=conduct.climbing), oracle.meter.forwards
    logits = measured(oracle.logits, torch.stack(images), shapes).cpu()
    oracle.settle()
    filled = oracle.meter.forwards - before - len(images)  # rows that only pad the shape
    oracle.meter.forwards -= filled
    oracle.meter.padding += filled
    return logits


def _survivors(stage: Stage, guests: list[Guest], emit: Emit) -> list[Guest]:
    """The images that survive the stage, each with its best candidate so far; the others are emitted."""
    standing = []
    for result in sorted(stage.run(guests), key=lambda result: result.guest.position):
        guest = result.guest
        if result.fooled:
            emit(result)
        elif result.candidate is not None and (guest.best is None or result.score > guest.best.score):
            standing.append(replace(guest, best=result))
        else:
            standing.append(guest)
    return standing


def collected(batch: Batch, results: Iterable[Finished]) -> torch.Tensor:
    """Candidates in the order of ``batch``; images without one stay clean."""
    candidates = batch.images.clone()
    for result in results:
        if result.candidate is not None:
            candidates[result.guest.position] = result.candidate.to(candidates.dtype)
    return candidates

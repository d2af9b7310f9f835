"""Estimation of the order of a pixel shuffle from leaked weights, with its cost."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.core.blocks import Shuffle
from bench.core.errors import InputError, NotApplicableError
from bench.core.nouns import Batch
from bench.core.plugins import Split
from bench.core.progress import Advance, Progress, stage
from bench.core.seeds import seed_of
from bench.engine.world import World
from bench.models.classifier import Classifier
from bench.models.fold import fold
from bench.models.keysearch import assigned
from bench.store.keystudies import Guess
from bench.studies.keystudy.pictures import Pictures

_IMAGES = 128  # training images for trying a guess, as in the threat leaked-weights
_LOOKS = (16, 4, 1)  # a climb is evaluated after these fractions of its guesses
Aim = Literal["cross-entropy", "accuracy"]
Walk = Iterator[tuple[int, Tensor]]


@dataclass(frozen=True)
class Case:
    """A leaked network (modified in place), its original, and the truth for evaluating guesses."""

    leaked: Classifier
    start: Classifier
    right: Shuffle
    batch: Batch
    pictures: Pictures

    def guess(self, how: str, guesses: int, order: Tensor) -> Guess:
        """Evaluation of ``order``; only shares of it are stored."""
        truth, order = self.right.order.cpu(), order.cpu()
        alike = torch.tensor(self.pictures.alike)
        channels = len(alike)
        place = (order // channels == truth // channels) & (alike[order % channels] == alike[truth % channels])
        self.wear(order)
        return Guess.model_validate({
            "how": how,
            "guesses": guesses,
            "forwards": guesses * len(self.batch),
            "entries": float((order == truth).double().mean()),
            "positions": float(place.double().mean()),
            "accuracy": self.pictures.accuracy(self.leaked),
        })  # fmt: skip

    def wear(self, order: Tensor) -> None:
        """Put the leaked network behind an order."""
        self.leaked.transform = Shuffle(self.right.block_size, order.tolist()).to(self.batch.images.device)


def estimation(world: World, pictures: Pictures, guesses: int, progress: Progress) -> list[Guess]:
    """Column assignment, and climbs from it and from a random order, each evaluated several times.

    Raises:
        NotApplicableError: if the defense is not a pixel shuffle inside the patches of an embedding, or leaks nothing.
    """
    seed = world.spec.seed
    case = _case(world, pictures)
    size = case.right.order.numel()
    first = assigned(case.leaked, case.start, case.right.block_size)
    anyhow = torch.randperm(size, generator=torch.Generator().manual_seed(seed_of(seed, "key-study", "start")))
    out = [case.guess("assignment", 0, first)]
    tries: list[tuple[str, Tensor, Aim]] = [
        ("assignment, then cross-entropy", first, "cross-entropy"),
        ("climb in cross-entropy", anyhow, "cross-entropy"),
        ("climb in accuracy", anyhow, "accuracy"),
    ]
    with stage(progress, "estimate the key", guesses * len(tries), "order") as advance:
        for how, start, aim in tries:
            walk = climb(case, start, aim, guesses, seed_of(seed, "key-study", "pairs"), advance)
            out += [case.guess(how, spent, order) for spent, order in walk]
            advance(guesses - out[-1].guesses)  # a climb may end early
    return out


def climb(case: Case, start: Tensor, aim: Aim, guesses: int, seed: int, advance: Advance) -> Walk:
    """Swap random pairs of entries and keep improvements, until nothing is misclassified or ``guesses`` are spent.

    In accuracy a swap is kept if accuracy does not fall, in cross-entropy if it falls.

    Source: arXiv:2103.03525 (in accuracy).
    """
    better: Callable[[float, float], bool] = float.__lt__ if aim == "cross-entropy" else float.__le__
    looks = {max(1, guesses // part) for part in _LOOKS}
    order = start.clone()
    best, wrong = _fit(case, order, aim)
    spent = 1
    advance(1)
    for i, j in _pairs(len(order), seed):
        if not wrong or spent >= guesses:
            break
        tried = order.clone()
        tried[i], tried[j] = order[j], order[i]
        value, errors = _fit(case, tried, aim)
        spent += 1
        advance(1)
        if better(value, best):
            best, wrong, order = value, errors, tried
        if spent in looks and spent < guesses and wrong:
            yield spent, order
    yield spent, order


def _pairs(n: int, seed: int) -> Iterator[tuple[int, int]]:
    """All pairs in random order, repeatedly."""
    pairs = torch.combinations(torch.arange(n))
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from pairs[torch.randperm(len(pairs), generator=generator)].tolist()


def _fit(case: Case, order: Tensor, aim: Aim) -> tuple[float, int]:
    """The objective of the climb, smaller is better, and the number of misclassified images of the batch."""
    case.wear(order)
    with torch.no_grad():
        logits: Tensor = case.leaked(case.batch.images)
    wrong = int((logits.argmax(1) != case.batch.labels).sum())
    return float(F.cross_entropy(logits, case.batch.labels)) if aim == "cross-entropy" else float(wrong), wrong


def _case(world: World, pictures: Pictures) -> Case:
    target = world.target.model
    if not isinstance(target, Classifier) or type(shuffle := target.transform) is not Shuffle:
        raise NotApplicableError("key estimation: the transform is not a pixel shuffle alone")
    try:
        fold(copy.deepcopy(target).cpu())
    except InputError as why:
        raise NotApplicableError(f"key estimation: {why}") from why
    leaked, start = world.leaked().model, world.start.model
    if not isinstance(leaked, Classifier) or not isinstance(start, Classifier):
        raise NotApplicableError("key estimation: there is no first layer to compare with the original")
    batch = _training(world.train_split, world.spec.seed).to(world.device)
    return Case(leaked, start, shuffle, batch, pictures)


def _training(split: Split, seed: int) -> Batch:
    order = torch.randperm(
        len(split.ids), generator=torch.Generator().manual_seed(seed_of(seed, "key-study", "images"))
    )
    return split.read(order[:_IMAGES].tolist())

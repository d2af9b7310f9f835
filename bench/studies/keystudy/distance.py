"""Accuracy of a keyed model with keys that are slightly wrong, random, or missing."""

from __future__ import annotations

import copy

import torch
from torch import Generator, Tensor, nn

from bench.core.blocks import Shuffle
from bench.core.errors import NotApplicableError
from bench.core.key import Key
from bench.core.plugins import Defense
from bench.core.profile import Profile
from bench.core.progress import Progress, stage
from bench.core.seeds import seed_of
from bench.models.classifier import Classifier
from bench.store.keystudies import AtDistance, Keys
from bench.studies.keystudy.pictures import Pictures, quantiles


def by_distance(model: nn.Module, pictures: Pictures, draws: int, seed: int, progress: Progress) -> list[AtDistance]:
    """Accuracy with 0, 1, 2, 4, ... swaps of two entries of the correct order, and with random orders.

    Raises:
        NotApplicableError: if the model has no order.
    """
    model = copy.deepcopy(model)
    shuffles = [part for part in model.modules() if isinstance(part, Shuffle)]
    if not shuffles:
        raise NotApplicableError("key distance: the transform has no order; expected a pixel shuffle")
    right = [shuffle.order.clone() for shuffle in shuffles]
    most = min(len(order) for order in right) - 1
    steps: list[int | None] = [0, *(2**i for i in range(most.bit_length()) if 2**i <= most), None]
    out = []
    with stage(progress, "key distance", len(steps), "distance") as advance:
        for step in steps:
            tries = 1 if step == 0 else draws
            got = [_tried(model, shuffles, right, step, seed_of(seed, "key distance", step or 0, i), pictures)
                   for i in range(tries)]  # fmt: skip
            accuracies = [accuracy for accuracy, _ in got]
            out.append(
                AtDistance(
                    exchanges=step,
                    draws=tries,
                    moved=sum(moved for _, moved in got) / tries,
                    mean=sum(accuracies) / tries,
                    low=min(accuracies),
                    high=max(accuracies),
                )
            )
            advance(1)
    return out


def exchanged(n: int, exchanges: int, generator: Generator) -> Tensor:
    """A random permutation of range(n) that needs exactly ``exchanges`` swaps to undo, ``exchanges`` < n.

    A swap of two entries in different cycles joins the cycles, and n minus the number of cycles is the number of swaps
    between a permutation and the identity.
    """
    order, cycle = torch.arange(n), torch.arange(n)
    for _ in range(exchanges):
        i, j = 0, 0
        while cycle[i] == cycle[j]:
            i, j = torch.randint(n, (2,), generator=generator).tolist()
        order[[i, j]] = order[[j, i]]
        cycle[cycle == cycle[j]] = cycle[i].clone()
    return order


def with_keys(
    model: nn.Module, defense: Defense, profile: Profile, pictures: Pictures, count: int, seed: int, progress: Progress
) -> Keys:
    """Accuracy with the correct key, with no key, and with ``count`` wrong keys derived from the seed.

    Raises:
        NotApplicableError: if the defense does not define how to bind a key.
    """
    right = pictures.accuracy(model)
    model = copy.deepcopy(model)
    keyed = [part for part in model.modules()
             if isinstance(part, Classifier) and not isinstance(part.transform, nn.Identity)]  # fmt: skip
    if not keyed:
        raise NotApplicableError("wrong keys: no network has a transform before it; expected a keyed defense")
    device = keyed[0].mean.device
    found = []
    with stage(progress, "wrong keys", count, "key") as advance:
        for number in range(count):
            wrong = Key.from_seed(seed, "wrong", number)
            for index, part in enumerate(keyed):
                part.transform = defense.bind(wrong.child(index), profile).to(device)
            found.append(pictures.accuracy(model))
            advance(1)
    for part in keyed:
        part.transform = nn.Identity()
    return Keys(
        right=right,
        none=pictures.accuracy(model),
        wrong_keys=count,
        mean=sum(found) / count,
        high=max(found),
        quantiles=quantiles(torch.tensor(found, dtype=torch.float64)),
    )


def _tried(
    model: nn.Module, shuffles: list[Shuffle], right: list[Tensor], step: int | None, seed: int, pictures: Pictures
) -> tuple[float, float]:
    """Accuracy at one distance, and the share of entries in a wrong position."""
    generator = Generator().manual_seed(seed)
    moved = []
    for shuffle, order in zip(shuffles, right, strict=True):
        n = len(order)
        change = torch.randperm(n, generator=generator) if step is None else exchanged(n, step, generator)
        shuffle.order = order[change.to(order.device)]
        shuffle.undo = shuffle.order.argsort()
        moved.append(float((change != torch.arange(n)).double().mean()))
    return pictures.accuracy(model), sum(moved) / len(moved)

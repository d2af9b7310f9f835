"""Cosines of input gradients between models, in pixel space, and of first layers with the key folded in."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.checks.battery.draws import signs, uniform
from bench.core.ball import random_start
from bench.core.budget import Budget
from bench.core.errors import InputError
from bench.core.nouns import Batch, Precision
from bench.core.numerics import numerics
from bench.core.progress import Progress, stage
from bench.models.classifier import Classifier
from bench.models.fold import fold
from bench.models.parts import first_convolution
from bench.store.keystudies import Cosine, FirstLayers, Kind
from bench.studies.keystudy.pictures import Pictures, quantiles

Loss = Literal["margin", "cross-entropy"]
Role = Literal["device", "base", "key-free", "keyed"]
LOSSES: tuple[Loss, ...] = ("margin", "cross-entropy")
_KINDS: dict[frozenset[str], Kind] = {
    frozenset({"device"}): "two devices",
    frozenset({"device", "base"}): "device and base",
    frozenset({"device", "key-free"}): "device and key-free substitute",
    frozenset({"device", "keyed"}): "device and keyed substitute",
    frozenset({"keyed"}): "two keyed substitutes",
}


@dataclass(frozen=True)
class ComparedModel:
    """A model with its role in the study; its clean input gradients are with respect to the pixels."""

    model: nn.Module
    role: Role


def cosines(
    compared: Mapping[str, ComparedModel], pictures: Pictures, budget: Budget, seed: int, progress: Progress
) -> list[Cosine]:
    """Cosines of every pair of models on the same images, and reference cosines of the first model.

    References: the model itself at a random point of the ball (the most that another model could share), the model
    itself on an image of the other half of a batch, and a random direction (both share nothing).
    """
    found: dict[tuple[Kind, str, str, Loss], list[tuple[Tensor, Tensor]]] = defaultdict(list)
    alike = pictures.alike
    with stage(progress, "gradients", pictures.count * len(compared), "image") as advance:
        for batch in pictures:
            for loss in LOSSES:
                slopes = {name: gradient(entry.model, batch, loss) for name, entry in compared.items()}
                for a, b in combinations(compared, 2):
                    kind = _kind(compared[a].role, compared[b].role)
                    found[kind, a, b, loss].append(_pair(slopes[a], slopes[b], alike))
                first = next(iter(compared))
                for kind, one, other in _yardsticks(compared[first].model, batch, slopes[first], loss, budget, seed):
                    found[kind, first, kind, loss].append(_pair(one, other, alike))
            advance(len(batch) * len(compared))
    shared = len(set(alike)) < len(alike)
    return [_cosine(where, values, shared=shared) for where, values in found.items()]


def first_layers(compared: Mapping[str, ComparedModel], alike: list[int], notes: list[str]) -> list[FirstLayers]:
    """Cosines of every pair of models with a transform that folds; reasons for the others are added to ``notes``.

    Args:
        compared: The models, by name.
        alike: For each channel, the first channel that it equals in the data.
        notes: List to extend.
    """
    filters: dict[str, Tensor] = {}
    for name, entry in compared.items():
        try:
            filters[name] = _filters(entry.model)
        except InputError as why:
            notes.append(f"first layer of {name}: {why}")
    shared = len(set(alike)) < len(alike)
    out = []
    for a, b in combinations(filters, 2):
        one, other = filters[a], filters[b]
        each = F.cosine_similarity(one.flatten(1), other.flatten(1))
        out.append(
            FirstLayers(
                kind=_kind(compared[a].role, compared[b].role),
                a=a,
                b=b,
                whole=_whole(one, other),
                shared=_whole(averaged(one, alike), averaged(other, alike)) if shared else None,
                mean=_bounded(each.mean()),
                quantiles=quantiles(each),
            )
        )
    return out


def gradient(model: nn.Module, batch: Batch, loss: Loss) -> Tensor:
    """Gradient of each image's loss in pixels, (B, C, H, W): through transform and normalisation."""
    x = batch.images.clone().requires_grad_()
    with torch.enable_grad(), numerics(Precision.FP32, x.device.type):
        logits: Tensor = model(x)
        if loss == "cross-entropy":
            value = F.cross_entropy(logits, batch.labels, reduction="sum")
        else:
            own = F.one_hot(batch.labels, logits.shape[1]).bool()
            value = (logits.masked_fill(own, -torch.inf).amax(1) - logits[own]).sum()
        (slope,) = torch.autograd.grad(value, x)
    return slope


def _yardsticks(
    model: nn.Module, batch: Batch, slope: Tensor, loss: Loss, budget: Budget, seed: int
) -> list[tuple[Kind, Tensor, Tensor]]:
    nearby = random_start(batch.images, uniform(seed, batch, "key-study"), budget)
    half = len(batch) // 2
    return [
        ("itself nearby", slope, gradient(model, Batch(batch.ids, nearby, batch.labels), loss)),
        ("itself, another image", slope[:half], slope[half : 2 * half]),
        ("random direction", slope, signs(seed, batch, "key-study")),
    ]


def _pair(a: Tensor, b: Tensor, alike: list[int]) -> tuple[Tensor, Tensor]:
    """Cosine for each image that has one, of all channels and of equal channels' means; both (images,)."""
    there = (a.flatten(1).abs().amax(1) > 0) & (b.flatten(1).abs().amax(1) > 0)
    a, b = a[there].double(), b[there].double()
    return _angle(a, b), _angle(averaged(a, alike), averaged(b, alike))


def averaged(slope: Tensor, alike: list[int]) -> Tensor:
    """Gradients (B, C, H, W) with each channel replaced by the mean of the channels that it equals in the data."""
    groups = [[d for d, other in enumerate(alike) if other == own] for own in alike]
    return torch.stack([slope[:, group].mean(1) for group in groups], 1)


def _angle(a: Tensor, b: Tensor) -> Tensor:
    # A gradient can be below float64's default threshold of 1e-8 and still have a direction.
    return (F.normalize(a.flatten(1), eps=1e-300) * F.normalize(b.flatten(1), eps=1e-300)).sum(1).cpu()


def _cosine(where: tuple[Kind, str, str, Loss], values: list[tuple[Tensor, Tensor]], *, shared: bool) -> Cosine:
    kind, a, b, loss = where
    every, means = (torch.cat(column) for column in zip(*values, strict=True))
    some = bool(len(every))
    return Cosine(
        kind=kind,
        a=a,
        b=b,
        loss=loss,
        images=len(every),
        mean=_bounded(every.mean()) if some else None,
        quantiles=quantiles(every),
        shared=_bounded(means.mean()) if some and shared else None,
    )


def _filters(model: nn.Module) -> Tensor:
    if not isinstance(model, Classifier):
        raise InputError(f"a {type(model).__name__} does not have a single first layer")
    folded = fold(copy.deepcopy(model).cpu())
    return first_convolution(folded.network).weight.detach().double()


def _whole(a: Tensor, b: Tensor) -> float:
    return _bounded(F.cosine_similarity(a.flatten(), b.flatten(), dim=0))


def _kind(a: Role, b: Role) -> Kind:
    return _KINDS.get(frozenset({a, b}), "other models")


def _bounded(value: Tensor) -> float:
    return max(-1.0, min(1.0, float(value)))

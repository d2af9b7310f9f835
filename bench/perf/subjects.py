"""Models and images to measure on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from bench.core.budget import Budget, Norm
from bench.core.errors import UnknownNameError
from bench.core.names import suggestion
from bench.core.nouns import Adversary, Batch
from bench.core.plugins import Attack
from bench.core.profile import Base, Recipe
from bench.core.registry import registry
from bench.engine.evaluate import Means
from bench.engine.judge import predict
from bench.engine.resolve import Request, resolve
from bench.engine.world import World
from bench.models.classifier import Classifier, backbone, freeze
from bench.store.keyring import Keyring
from bench.store.models import ModelCache

if TYPE_CHECKING:
    from bench.core.nouns import Model

SUBJECTS = ("digits-vit", "vit-b-16")


@dataclass(frozen=True)
class Subject:
    """A model with images that it gets right."""

    name: str
    model: Model
    batch: Batch


def subject(name: str, images: int, means: Means) -> Subject:
    """The undefended ViT of the digits profile, or a ViT-B/16 at 224 with random weights on generated images.

    Raises:
        UnknownNameError: there is no such subject.
    """
    if name not in SUBJECTS:
        raise UnknownNameError(f"unknown subject {name!r}{suggestion(name, SUBJECTS)}")
    return _digits(images, means) if name == "digits-vit" else _large(images, means.device)


def radius_for(found: Subject, robust: float) -> Budget:
    """The l-inf radius at which about ``robust`` (a share) of the images withstand a short attack, by bisection."""
    attack: Attack = registry("attacks").make("pgd", {"steps": 30})
    low, high = 0.0, 0.2
    for _ in range(9):
        middle = (low + high) / 2
        budget = Budget.parse(f"{Norm.LINF}:{middle:.5f}")
        candidates = attack.perturb(Adversary(found.model, budget, 0), found.batch)
        share = accuracy(found, candidates)
        low, high = (middle, high) if share > robust else (low, middle)
    return Budget.parse(f"{Norm.LINF}:{(low + high) / 2:.4f}")


def accuracy(found: Subject, candidates: torch.Tensor) -> float:
    """Share of the images that the model still gets right, in float32."""
    predictions = predict(found.model, candidates)
    right = [bool(p == y) for p, y in zip(predictions, found.batch.labels.tolist(), strict=True)]
    return sum(right) / len(right)


def _digits(images: int, means: Means) -> Subject:
    spec, key = resolve(Request("plain", "white-box"), Keyring(means.home.keys))
    world = World(spec, key, ModelCache(means.home.models), means.device, means.progress)
    batch = world.test_split.read(range(len(world.test_split.ids))).to(means.device)
    right = [i for i, p in enumerate(predict(world.base.model, batch.images)) if p == int(batch.labels[i])]
    return Subject("digits-vit", world.base.model, batch.take(right[:images]))


def _large(images: int, device: str) -> Subject:
    half = (0.5, 0.5, 0.5)
    base = Base(architecture="vit_base_patch16_224", mean=half, std=half,
                recipe=Recipe(steps=1, batch_size=1, learning_rate=1))  # fmt: skip
    model = freeze(Classifier(backbone(base, 1000, 0), half, half)).to(device)
    pixels = torch.rand(images, 3, 224, 224, generator=torch.Generator().manual_seed(0)).to(device)
    labels = torch.tensor([p or 0 for p in predict(model, pixels)], device=device)
    return Subject("vit-b-16", model, Batch(tuple(f"generated-{i}" for i in range(images)), pixels, labels))

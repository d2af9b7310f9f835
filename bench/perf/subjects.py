"""Models and images for timing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.core.budget import Budget, Norm
from bench.core.devices import check_device
from bench.core.errors import UnknownNameError
from bench.core.names import suggestion
from bench.core.nouns import Adversary, Batch
from bench.core.plugins import Attack
from bench.core.profile import Base, Recipe
from bench.core.registry import registry
from bench.engine.judge import predict
from bench.engine.making import Making
from bench.engine.means import Means
from bench.engine.request import Request
from bench.engine.resolve import resolve
from bench.engine.world import World
from bench.models.classifier import Classifier, backbone, freeze
from bench.store.keyring import Keyring

if TYPE_CHECKING:
    from bench.core.nouns import Model

SUBJECTS = ("digits-vit", "vit-b-16")
_PATTERNS = 10


@dataclass(frozen=True)
class Contestant:
    """A model with correctly classified images, and the radius at which none of them is robust."""

    name: str
    model: Model
    batch: Batch
    budget: Budget


def subject(name: str, images: int, means: Means) -> Contestant:
    """The undefended ViT of the digits profile, or a ViT-B/16 at 224 with random features on generated images.

    Raises:
        UnknownNameError: if there is no such subject.
        InputError: if the device is not available.
    """
    if name not in SUBJECTS:
        raise UnknownNameError(f"unknown subject {name!r}{suggestion(name, SUBJECTS)}")
    check_device(means.device)
    return _digits(images, means) if name == "digits-vit" else _large(images, means.device)


def radius_for(found: Contestant, robust: float) -> Budget:
    """The l-inf radius at which about ``robust`` (a share) of the images survive a short attack, by bisection."""
    short = {"version": "custom", "attacks": ["apgd-ce", "apgd-t"], "iterations": 40, "targets": 3}
    attack: Attack = registry("attacks").make("autoattack", short)
    low, high = 0.0, 0.2
    for _ in range(9):
        middle = (low + high) / 2
        budget = Budget.parse(f"{Norm.LINF}:{middle:.5f}")
        candidates = attack.perturb(Adversary(found.model, budget, 0), found.batch)
        share = accuracy(found, candidates)
        low, high = (middle, high) if share > robust else (low, middle)
    return Budget.parse(f"{Norm.LINF}:{(low + high) / 2:.4f}")


def accuracy(found: Contestant, candidates: torch.Tensor) -> float:
    """Share of the images that the model still classifies correctly, in float32."""
    predictions = predict(found.model, candidates)
    right = [bool(p == y) for p, y in zip(predictions, found.batch.labels.tolist(), strict=True)]
    return sum(right) / len(right)


def _digits(images: int, means: Means) -> Contestant:
    job = resolve(Request("plain", "white-box"), Keyring(means.home.keys))
    world = World(Making(job.spec, means), job.key)
    batch = world.test_split.read(range(len(world.test_split.ids))).to(means.device)
    right = [i for i, p in enumerate(predict(world.base.model, batch.images)) if p == int(batch.labels[i])]
    return Contestant("digits-vit", world.base.model, batch.take(right[:images]), Budget.parse("linf:0.1"))


def _large(images: int, device: str) -> Contestant:
    """A head on random features that separates ten colour patterns, with margins far above the noise of bf16.

    Like an undefended model it fails at the first gradient step at 4/255; it is robust at 0.0002.
    """
    half = (0.5, 0.5, 0.5)
    base = Base(architecture="vit_base_patch16_224", mean=half, std=half,
                recipe=Recipe(steps=1, batch_size=1, learning_rate=1))  # fmt: skip
    model = freeze(Classifier(backbone(base, 1000, 0), half, half)).to(device)
    pixels, labels = _patterns(images + 3 * _PATTERNS)
    pixels, labels = pixels.to(device), labels.to(device)
    head = model.get_submodule("network.head")
    if not isinstance(head, nn.Linear):
        raise TypeError(f"the head of a ViT must be linear, got {type(head).__name__}")
    seen: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    predict(model, pixels[: 3 * _PATTERNS])
    hook.remove()
    features = torch.cat(seen)[: 3 * _PATTERNS]
    _tell_apart(head, features, labels[: len(features)])
    pixels, labels = pixels[len(features) :], labels[len(features) :]
    right = [i for i, p in enumerate(predict(model, pixels)) if p == int(labels[i])]
    batch = Batch(tuple(f"generated-{i}" for i in range(images)), pixels, labels)
    return Contestant("vit-b-16", model, batch.take(right), Budget.parse("linf:4/255"))


def _patterns(count: int) -> tuple[Tensor, Tensor]:
    """Images (count, 3, 224, 224) of ten smooth colour patterns with noise, and their pattern numbers."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % _PATTERNS
    coarse = torch.rand(_PATTERNS, 3, 7, 7, generator=generator)
    smooth = functional.interpolate(coarse, size=224, mode="bicubic")[labels]
    noise = functional.interpolate(torch.rand(count, 3, 28, 28, generator=generator), size=224)
    return (0.8 * smooth + 0.2 * noise).clamp(0, 1), labels


def _tell_apart(head: nn.Linear, features: Tensor, labels: Tensor) -> None:
    """Give each class the logit 5 at the mean of its features (n, d), and -5 at the mean of all."""
    middle = features.mean(0)
    centre = torch.stack([features[labels == k].mean(0) for k in range(_PATTERNS)]) - middle
    weight = 10 * centre / centre.square().sum(1, keepdim=True)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.fill_(-20)
        head.weight[:_PATTERNS] = weight
        head.bias[:_PATTERNS] = -weight @ middle - 5

"""The single model class: key transform, normalisation and network in one module."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bench.core.errors import InputError
from bench.core.profile import Base


class Classifier(nn.Module):
    """f(t(x, K)): images (B, C, H, W) in [0, 1] to logits (B, K).

    The transform acts on images in [0, 1]; normalisation follows.
    """

    traceable = True  # the same steps for every input

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        transform: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.transform = transform or nn.Identity()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float64).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float64).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of ``images``."""
        x = self.transform(images)
        logits: Tensor = self.network((x - self.mean.to(x)) / self.std.to(x))
        return logits


def backbone(base: Base, classes: int, seed: int) -> nn.Module:
    """The profile's architecture with fresh weights drawn from ``seed``.

    Raises:
        InputError: if timm does not know the architecture or refuses its arguments.
    """
    import timm  # noqa: PLC0415 (seconds to import)

    arguments: dict[str, Any] = {"num_classes": classes, **base.arguments}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            network: nn.Module = timm.create_model(base.architecture, pretrained=False, **arguments)
        except (RuntimeError, TypeError, ValueError) as error:
            raise InputError(f"cannot build {base.architecture!r} with {arguments}: {error}") from error
    return network


def freeze(model: nn.Module) -> nn.Module:
    """Evaluation mode, no gradients for weights: the state in which every model is attacked and judged."""
    return model.eval().requires_grad_(False)

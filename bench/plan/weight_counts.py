"""Number of weights that a kind of fine-tuning trains, counted on the models themselves."""

from __future__ import annotations

from dataclasses import dataclass

from bench.core.plugins import Defense
from bench.core.profile import Profile
from bench.core.registry import registry
from bench.models.classifier import backbone


@dataclass(frozen=True)
class Weights:
    """Trainable and total number of weights, including adapters."""

    trained: int
    all: int


def weights_of(defense: str, profile: Profile) -> Weights:
    """Count the profile's base as ``defense`` fine-tunes it, with weights that have a shape and no storage.

    Raises:
        NotApplicableError: the defense does not say what it trains.
    """
    from accelerate import init_empty_weights  # noqa: PLC0415 (seconds to import)

    plugin: Defense = registry("defenses").make(defense)
    with init_empty_weights():
        network = plugin.trainable(backbone(profile.base, profile.classes, 0), 0)
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    return Weights(trained, sum(p.numel() for p in network.parameters()))

"""Full fine-tuning under a key."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from bench.defenses.keyed import KeyedDefense
from bench.models.weights import load_weights, save_weights


class KeyFull(KeyedDefense):
    """Pixel-shuffled images, every weight fine-tuned (key, full; arXiv 2311.16577)."""

    tuning = "full"

    def trainable(self, network: nn.Module, seed: int) -> nn.Module:
        """Every weight."""
        return network.requires_grad_(True)

    def save(self, network: nn.Module, folder: Path) -> None:
        """All weights, safetensors."""
        save_weights(network, folder)

    def restore(self, network: nn.Module, folder: Path) -> nn.Module:
        """All weights from the file."""
        return load_weights(network, folder)

"""LoRA fine-tuning under a key."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from torch import nn

from bench.defenses.keyed import KeyedDefense
from bench.training.lora import attach, load_merged, save_adapters


class KeyLora(KeyedDefense):
    """Pixel-shuffled images, LoRA on the patch embedding and every qkv (key, LoRA; arXiv 2311.16577)."""

    tuning = "lora"

    rank: int = Field(16, ge=1, description="LoRA rank r; arXiv 2311.16577 uses 16")
    scaling: int = Field(
        16, ge=1, description="LoRA scaling (peft's lora_alpha), divided by the rank; arXiv 2311.16577 uses 16"
    )

    def trainable(self, network: nn.Module, seed: int) -> nn.Module:
        """Adapters and head."""
        return attach(network, rank=self.rank, scaling=self.scaling, seed=seed)

    def save(self, network: nn.Module, folder: Path) -> None:
        """Adapters and head, peft's format."""
        save_adapters(network, folder)

    def restore(self, network: nn.Module, folder: Path) -> nn.Module:
        """The base with the adapters merged in."""
        return load_merged(network, folder)

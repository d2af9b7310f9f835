"""LoRA on the patch embedding and every qkv, with the head trained, by peft."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from bench.core.errors import InputError

if TYPE_CHECKING:
    from peft import PeftModel

# arXiv:2311.16577, section IV-A: the patch embedding and the qkv layers of all blocks; peft trains the head too.
_TARGETS = ["patch_embed.proj", "qkv"]
_HEAD = ["head"]


def attach(network: nn.Module, *, rank: int, scaling: int, seed: int) -> nn.Module:
    """``network`` with new adapters; only they and the head are trainable."""
    from peft import LoraConfig, get_peft_model  # noqa: PLC0415 (seconds to import)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = LoraConfig(r=rank, lora_alpha=scaling, target_modules=_TARGETS, modules_to_save=_HEAD)
        if not any(name.endswith("qkv") for name, _ in network.named_modules()):
            raise InputError(f"{type(network).__name__} has no qkv layers; expected a ViT for LoRA, or a defense that "
                             "fine-tunes in full or in part")  # fmt: skip
        return cast("nn.Module", get_peft_model(network, config))


def save_adapters(network: nn.Module, folder: Path) -> None:
    """Adapters and head in peft's own format (adapter_config.json, adapter_model.safetensors)."""
    cast("PeftModel", network).save_pretrained(str(folder))


def load_merged(network: nn.Module, folder: Path) -> nn.Module:
    """The base ``network`` with the adapters of ``folder`` merged into its weights."""
    from peft import PeftModel  # noqa: PLC0415 (seconds to import)

    adapted = PeftModel.from_pretrained(network, str(folder))
    return cast("nn.Module", adapted.merge_and_unload())

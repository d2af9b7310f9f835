"""Weights in safetensors files."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import nn

WEIGHTS = "model.safetensors"


def save_weights(network: nn.Module, folder: Path) -> None:
    """Write the state of ``network`` as ``model.safetensors``."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    save_file(state, folder / WEIGHTS)


def load_weights(network: nn.Module, folder: Path) -> nn.Module:
    """Read the weights back; every name and shape must match."""
    network.load_state_dict(load_file(folder / WEIGHTS))
    return network

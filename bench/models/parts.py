"""The first and the last layer of any timm model, by the names that timm gives them."""

from __future__ import annotations

import copy
from typing import cast

from torch import nn

from bench.core.errors import InputError


def ends(network: nn.Module) -> tuple[str, str]:
    """Names of the children that hold the first convolution (the patch embedding, the stem) and the classifier.

    Raises:
        InputError: timm does not name them, or there are several.
    """
    about = getattr(network, "pretrained_cfg", None) or getattr(network, "default_cfg", None) or {}
    names = [about.get(part) for part in ("first_conv", "classifier")]
    children = dict(network.named_children())
    if not all(isinstance(name, str) and name.split(".")[0] in children for name in names):
        raise InputError(f"{type(network).__name__} does not name one first layer and one classifier (got {names}); "
                         "expected a timm model that does, such as ViT or ConvMixer")  # fmt: skip
    first, last = (str(name).split(".")[0] for name in names)
    return first, last


def with_own_ends(network: nn.Module) -> nn.Module:
    """``network`` with copies of its first and last layer and everything between shared."""
    twin = copy.copy(network)
    twin._modules = dict(network._modules)  # a shallow copy shares this table
    for name in ends(network):
        twin._modules[name] = copy.deepcopy(cast("nn.Module", network._modules[name]))
    return twin

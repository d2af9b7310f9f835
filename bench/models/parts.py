"""The first and the last layer of any timm model, by the names that timm gives them."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn

from bench.core.errors import NotApplicableError


def ends(network: nn.Module) -> tuple[str, str]:
    """Names of the child modules with the first convolution (the patch embedding, the stem) and the classifier.

    Raises:
        InputError: if timm does not name them, or there are several.
    """
    about = getattr(network, "pretrained_cfg", None) or getattr(network, "default_cfg", None) or {}
    names = [about.get(part) for part in ("first_conv", "classifier")]
    children = dict(network.named_children())
    if not all(isinstance(name, str) and name.split(".")[0] in children for name in names):
        raise NotApplicableError(f"{type(network).__name__} does not name one first layer and one classifier (got "
                                 f"{names}); expected a timm model that does, such as ViT or ConvMixer")  # fmt: skip
    first, last = (str(name).split(".")[0] for name in names)
    return first, last


def first_convolution(network: nn.Module) -> nn.Conv2d:
    """The convolution that receives the pixels.

    Raises:
        InputError: if the first layer has none.
    """
    first = network.get_submodule(ends(network)[0])
    for layer in first.modules():
        if isinstance(layer, nn.Conv2d):
            return layer
    raise NotApplicableError(
        f"the first layer of {type(network).__name__} has no convolution; expected one that receives the pixels"
    )


def permute_inputs(network: nn.Module, seed: int) -> None:
    """Permute the inputs (channel, row, column) of the first convolution at random, in place."""
    weight = first_convolution(network).weight
    order = torch.randperm(weight[0].numel(), generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        weight.copy_(weight.flatten(1)[:, order.to(weight.device)].view_as(weight))


def share_equal_channels(first: nn.Conv2d, images: Tensor) -> None:
    """Give channels that are equal in all ``images`` (B, C, H, W) the same weights, their mean, in place.

    Such images (grey ones, in three channels) do not determine how a weight is split over the channels. The layer's
    output is unchanged; its gradient loses the component that depends only on the split.
    """
    left = list(range(images.shape[1]))
    while left:
        alike = [c for c in left if torch.equal(images[:, c], images[:, left[0]])]
        with torch.no_grad():
            first.weight[:, alike] = first.weight[:, alike].mean(1, keepdim=True).expand(-1, len(alike), -1, -1)
        left = [c for c in left if c not in alike]


def with_own_ends(network: nn.Module) -> nn.Module:
    """``network`` with copies of its first and last layer; everything in between is shared."""
    twin = copy.copy(network)
    twin._modules = dict(network._modules)  # a shallow copy shares this table
    for name in ends(network):
        twin._modules[name] = copy.deepcopy(cast("nn.Module", network._modules[name]))
    return twin

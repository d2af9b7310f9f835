"""The first and the last layer of any timm model, by the names that timm gives them."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn

from bench.core.blocks import to_blocks, to_images
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


def permute_inputs(network: nn.Module, block_size: int, seed: int) -> None:
    """Permute the inputs of the first convolution inside blocks at random, as a key of the block shuffle, in place.

    One permutation of the ``block_size`` x ``block_size`` x channels inputs of a block, drawn uniformly, the same in
    every block of the kernel.

    Raises:
        NotApplicableError: if the convolution does not see whole blocks: its kernel and stride are no multiples of
            ``block_size``, or its images are padded.
    """
    layer = first_convolution(network)
    sizes = (*layer.kernel_size, *layer.stride)
    if any(size % block_size for size in sizes) or layer.padding not in ((0, 0), "valid") or layer.groups > 1:
        raise NotApplicableError(f"the first layer of {type(network).__name__} (kernel {layer.kernel_size}, stride "
                                 f"{layer.stride}, padding {layer.padding}) does not see whole blocks of P = "
                                 f"{block_size}; expected a patch embedding, or another start")  # fmt: skip
    blocks = to_blocks(layer.weight.detach(), block_size)
    order = torch.randperm(blocks.shape[-1], generator=torch.Generator().manual_seed(seed)).to(blocks.device)
    with torch.no_grad():
        layer.weight.copy_(to_images(blocks[..., order], block_size))


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

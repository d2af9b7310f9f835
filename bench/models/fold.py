"""Folding a key transform into the patch embedding: the keyed model becomes a plain one, at no cost.

For a transform that is affine inside each patch, t(x) = A x + c, and a patch embedding z = W D^-1 (t(x) - mu) + b,
the folded weights are W' = W D^-1 A and b' = b + W D^-1 (c - mu), and images need no further processing.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from bench.core.errors import InputError, ShapeError
from bench.models.classifier import Classifier

_TOLERANCE = 1e-9  # float64; an affine map reproduces a probe to about 1e-15


def fold(model: Classifier) -> Classifier:
    """Return the same function of images in [0, 1] with the transform and the normalisation inside the weights.

    Args:
        model: A keyed model whose network has a patch embedding ``patch_embed.proj``, a convolution with stride
            equal to its kernel; on any device. Its dtype is kept (fold in float64 for full precision).

    Raises:
        InputError: if there is no such patch embedding, the block size does not divide the patch, or the transform is
            not affine (FFX).

    Source: arXiv:2207.11939 for ViT and ConvMixer, rederived here.
    """
    conv = _patch_embedding(model.network)
    patch = (conv.in_channels, *map(int, conv.kernel_size))
    a, c = _affine(model.transform, patch, conv.weight.device)
    w = conv.weight.detach().double().flatten(1)
    scale = (1 / model.std.double()).expand(1, *patch).reshape(-1)
    shift = model.mean.double().expand(1, *patch).reshape(-1)
    folded = copy.deepcopy(model.network)
    target = _patch_embedding(folded)
    bias = w.new_zeros(len(w)) if conv.bias is None else conv.bias.detach().double()
    weight = (w * scale) @ a
    target.weight = nn.Parameter(weight.view_as(conv.weight).to(conv.weight), requires_grad=False)
    target.bias = nn.Parameter((bias + (w * scale) @ (c - shift)).to(conv.weight), requires_grad=False)
    channels = conv.in_channels
    return Classifier(folded, (0.0,) * channels, (1.0,) * channels).to(conv.weight.device)


def _patch_embedding(network: nn.Module) -> nn.Conv2d:
    conv = getattr(getattr(network, "patch_embed", None), "proj", None)
    if not isinstance(conv, nn.Conv2d) or conv.stride != conv.kernel_size:
        raise InputError(
            f"{type(network).__name__} has no patch embedding with stride equal to its kernel, as needed for folding"
        )
    return conv


def _affine(transform: nn.Module, patch: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """A (n, n) and c (n,) of the transform on one flattened patch, in float64, checked on a random probe."""
    n = patch[0] * patch[1] * patch[2]
    probes = torch.cat([torch.zeros(1, n), torch.eye(n), torch.linspace(0, 1, n)[None]]).double().to(device)
    try:
        out = transform(probes.view(-1, *patch)).flatten(1)
    except ShapeError as error:
        raise InputError(f"the transform does not act inside one {patch[1]} x {patch[2]} patch: {error}") from error
    c, a = out[0], (out[1 : n + 1] - out[0]).T
    if (out[-1] - (a @ probes[-1] + c)).abs().max() > _TOLERANCE:
        raise InputError("the transform is not affine in the pixels, so it does not fold into the weights")
    return a, c

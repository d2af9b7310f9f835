"""ConvNeXt with a convolutional stem instead of its patch embedding.

Source: arXiv:2303.01870; names of the weights as in its checkpoints.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

_STRIDES = (2, 2, 1)


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation of images over their channels: (B, C, H, W) to the same."""

    def forward(self, images: Tensor) -> Tensor:
        """Normalise every pixel independently."""
        last = images.permute(0, 2, 3, 1)
        return F.layer_norm(last, self.normalized_shape, self.weight, self.bias, self.eps).permute(0, 3, 1, 2)


class ConvStem(nn.Module):
    """Convolutions of 3 x 3, each with a normalisation and a GELU; images (B, 3, H, W) to (B, widths[-1], H/4, W/4).

    Args:
        widths: Channels after each convolution; two or three of them, with strides 2, 2 and 1.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for (before, after), stride in zip(itertools.pairwise((3, *widths)), _STRIDES, strict=False):
            layers += [nn.Conv2d(before, after, 3, stride, padding=1), ChannelNorm(after, eps=1e-6), nn.GELU()]
        self.stem = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """Features at a quarter of the resolution."""
        features: Tensor = self.stem(images)
        return features

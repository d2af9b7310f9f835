"""What a key transform is: t(x, K), from images to images."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from bench.core.plugins.plugin import Plugin

if TYPE_CHECKING:
    from torch import nn

    from bench.core.key import Key


class Transform(Plugin, kind="transform"):
    """t(x, K): images to images of the same shape and dtype, in [0, 1].

    A class needs ``bind``. What it binds is tried on a few images before anything is trained
    (:func:`bench.core.binding.bind_transforms`): another key gives other images, the input is left as it is, the same
    input gives the same output, and an ``inverse`` undoes the transform.
    """

    @abstractmethod
    def bind(self, key: Key, *, block_size: int, image_shape: tuple[int, int, int]) -> nn.Module:
        """The transform under one key, as a module; its key tensors are never saved.

        Where the module has a method ``inverse(images)`` it gives back the x that t takes to ``images``, for 8-bit x up
        to float rounding.

        Args:
            key: The secret.
            block_size: P, in pixels; must divide height and width.
            image_shape: (C, H, W).

        Raises:
            InputError: ``block_size`` does not divide the image.
        """

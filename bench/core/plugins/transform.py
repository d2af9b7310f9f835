"""The key transform plug-in: t(x, K), from images to images."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from bench.core.plugins.plugin import Plugin

if TYPE_CHECKING:
    from torch import nn

    from bench.core.key import Key


class Transform(Plugin, kind="transform"):
    """t(x, K): images to images of the same shape and dtype, in [0, 1].

    A class needs ``bind``. The bound module is tested on a few images before anything is trained
    (:func:`bench.core.binding.bind_transforms`): another key gives other images, the input is not modified, the same
    input gives the same output, and an ``inverse`` undoes the transform.
    """

    @abstractmethod
    def bind(self, key: Key, *, block_size: int, image_shape: tuple[int, int, int]) -> nn.Module:
        """The transform under one key, as a module; its key tensors are never saved.

        If the module has a method ``inverse(images)``, it must undo t, for 8-bit images up to float rounding.

        Args:
            key: The secret.
            block_size: P, in pixels; must divide height and width.
            image_shape: (C, H, W).

        Raises:
            InputError: if ``block_size`` does not divide the image.
        """

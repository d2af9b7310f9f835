"""Transforms that break a promise, each in one way; they shuffle by the key else."""

import torch
from torch import nn

from bench.core.blocks import Shuffle
from bench.core.plugins import Transform


def shuffled(key, block_size, image_shape):
    return Shuffle(block_size, key.permutation("outsider", image_shape[0] * block_size**2))


class Step(nn.Module):
    """A function after or before a shuffle."""

    def __init__(self, function, inverse=None):
        super().__init__()
        self.function = function
        if inverse:
            self.inverse = inverse

    def forward(self, x):
        return self.function(x)


class _Transform(Transform):
    def bind(self, key, *, block_size, image_shape):
        return Step(self._step(shuffled(key, block_size, image_shape)))

    def _step(self, shuffle):
        return shuffle


class Honest(_Transform):
    """Keeps all promises, without an inverse."""


class Keyless(Transform):
    """Mirrors the image, whatever the key."""

    def bind(self, key, *, block_size, image_shape):
        return Step(lambda x: x.flip(-1))


class Loud(_Transform):
    """Leaves [0, 1]."""

    def _step(self, shuffle):
        return lambda x: 2 * shuffle(x) - 0.5


class InPlace(_Transform):
    """Writes over the images that it is given."""

    def _step(self, shuffle):
        return lambda x: x.copy_(shuffle(x))


class Smaller(_Transform):
    """Loses a row."""

    def _step(self, shuffle):
        return lambda x: shuffle(x)[:, :, 1:]


class Double(_Transform):
    """Gives float64."""

    def _step(self, shuffle):
        return lambda x: shuffle(x).double()


class NotFinite(_Transform):
    """Divides by zero where a value is zero."""

    def _step(self, shuffle):
        return lambda x: shuffle(x) / x.clamp(max=0) * 0


class Forgetful(_Transform):
    """Shuffles by chance too."""

    def _step(self, shuffle):
        return lambda x: (shuffle(x) + 0.01 * torch.rand_like(x)).clamp(0, 1)


class OneWay(Transform):
    """Has an inverse that does not undo it."""

    def bind(self, key, *, block_size, image_shape):
        shuffle = shuffled(key, block_size, image_shape)
        return Step(shuffle, inverse=shuffle)


class Failing(_Transform):
    """Raises on images."""

    def _step(self, shuffle):
        return lambda x: shuffle(x)[None].flatten(9)

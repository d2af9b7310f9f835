"""Key transforms bound to a key: looked up in the registry, and tested on a few images when first bound."""

from __future__ import annotations

from functools import cache

from torch import Tensor, nn

from bench.core.key import Key
from bench.core.plugins import Transform
from bench.core.promises import depend_on_key, keep_promises
from bench.core.registry import registry

Shape = tuple[int, int, int]


class Chain(nn.Module):
    """Transforms in sequence, with the inverse in reverse order."""

    traceable = True  # the same steps for every input

    def __init__(self, parts: list[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, images: Tensor) -> Tensor:
        """t_n(... t_1(x))."""
        for part in self.parts:
            images = part(images)
        return images

    def inverse(self, images: Tensor) -> Tensor:
        """The inverse of the chain."""
        for part in reversed(list(self.parts)):
            images = part.inverse(images)  # type: ignore[operator]
        return images


def bind_transforms(names: str, key: Key, *, block_size: int, image_shape: Shape) -> nn.Module:
    """t(., K) of one registered transform, or of several joined by ``+``, applied from left to right.

    A transform's promises are tested when a process first binds it for this block size and shape.

    Args:
        names: Such as ``pixel-shuffle`` or ``pixel-shuffle+negative-positive``.
        key: The secret.
        block_size: P, in pixels.
        image_shape: (C, H, W).

    Raises:
        UnknownNameError: if there is no such transform.
        InputError: if the block size does not divide the image, or a transform breaks its promises.
    """
    parts: dict[str, Transform] = {name: registry("transforms").make(name) for name in names.split("+")}
    for name, part in parts.items():
        _try(name, (part,), block_size, image_shape)
    chain = tuple(parts[name] for name in names.split("+"))
    if len(chain) > 1:
        _try(names, chain, block_size, image_shape)
    return _bound(chain, key, block_size, image_shape)


@cache
def _try(name: str, parts: tuple[Transform, ...], block_size: int, image_shape: Shape) -> None:
    """Refuse a transform that breaks a promise; in a chain, each is tested separately, and each must use the key."""

    def bind(key: Key) -> nn.Module:
        return _bound(parts, key, block_size, image_shape)

    promised = keep_promises if len(parts) == 1 else depend_on_key
    promised(name, bind, image_shape)


def _bound(parts: tuple[Transform, ...], key: Key, block_size: int, image_shape: Shape) -> nn.Module:
    bound = [part.bind(key, block_size=block_size, image_shape=image_shape) for part in parts]
    return bound[0] if len(bound) == 1 else Chain(bound)

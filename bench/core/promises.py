"""What a key transform promises, tried on a few images before anything is trained."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from bench.core.errors import BenchError, InputError
from bench.core.key import Key

Bind = Callable[[Key], nn.Module]

# Keys that are compared. Two may agree by chance where a block has few orders: 6 for three values.
_KEYS = 8
# What rounding of float32 may do to a value in [0, 1], and what an inverse may leave of an 8-bit value.
_ROUNDING, _LEFT = 1e-6, 1e-3


def keep_promises(name: str, bind: Bind, shape: tuple[int, int, int]) -> None:
    """Try one transform on images with values of 8 bits and between.

    Args:
        name: What a message calls it.
        bind: The transform under a key.
        shape: (C, H, W) of its images.

    Raises:
        InputError: it raises, changes its input, the shape or the dtype, leaves [0, 1], gives other images the second
            time, ignores its key, or has an inverse that does not undo it.
    """
    images, key = _images(shape), _key(0)
    module = _bound(name, bind, key)
    out = _given(name, module, images)
    if not torch.isfinite(out).all():
        raise _refused(name, "gives values that are not finite", "values in [0, 1]")
    if out.min() < -_ROUNDING or out.max() > 1 + _ROUNDING:
        raise _refused(name, f"leaves [0, 1]: it gives values from {out.min():.3g} to {out.max():.3g}", "none outside")
    for second in (module, _bound(name, bind, key)):
        if not torch.equal(_given(name, second, images), out):
            raise _refused(name, "gives other images the second time", "the same for the same key and images")
    depend_on_key(name, bind, shape, out)
    _undo(name, module, images[:2])


def depend_on_key(name: str, bind: Bind, shape: tuple[int, int, int], first: Tensor | None = None) -> None:
    """Compare what a transform makes of the same images under several keys; ``first`` is what the first one gives.

    Raises:
        InputError: it is the same under all of them.
    """
    images = _images(shape)
    first = _given(name, _bound(name, bind, _key(0)), images) if first is None else first
    others = (_given(name, _bound(name, bind, _key(number)), images) for number in range(1, _KEYS))
    if all(torch.allclose(first, other, rtol=0, atol=_ROUNDING) for other in others):
        raise _refused(name, f"ignores its key: {_KEYS} keys give the same images", "other images for another key")


def _undo(name: str, module: nn.Module, images: Tensor) -> None:
    """Whether the inverse, where there is one, gives the images back."""
    inverse = getattr(module, "inverse", None)
    if inverse is None:
        return
    back = _given(name, inverse, _given(name, module, images))
    if not torch.allclose(back, images, rtol=0, atol=_LEFT):
        off = (back - images).abs().max()
        raise _refused(name, f"has an inverse that is off by {off:.3g}", "the images that went in, or no inverse")


def _given(name: str, module: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """What ``module`` makes of a copy of ``images``, of the same shape and dtype."""
    held = images.clone()
    try:
        with torch.no_grad():
            out = module(held)
    except Exception as error:
        raise InputError(f"transform {name} cannot be used: {type(error).__name__}: {error}") from error
    if not torch.equal(held, images):
        raise _refused(name, "changes its input in place", "new images, its input as it was")
    if not isinstance(out, Tensor) or out.shape != images.shape or out.dtype != images.dtype:
        raise _refused(name, f"makes {_about(out)} of {_about(images)}", "the same shape and dtype")
    return out.clone()


def _bound(name: str, bind: Bind, key: Key) -> nn.Module:
    try:
        module = bind(key)
    except BenchError:
        raise
    except Exception as error:
        raise InputError(f"transform {name} cannot be bound: {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise _refused(name, f"is bound to a {type(module).__name__}", "a torch.nn.Module")
    return module


def _images(shape: tuple[int, int, int]) -> Tensor:
    """Three images (3, C, H, W): 8-bit values, black and white pixels, values between."""
    generator = Generator().manual_seed(0)
    levels = torch.randint(0, 256, shape, generator=generator) / 255
    ends = torch.randint(0, 2, shape, generator=generator).float()
    return torch.stack([levels, ends, torch.rand(shape, generator=generator)])


def _key(number: int) -> Key:
    return Key.from_seed(0, "promise", number)


def _about(value: object) -> str:
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    return f"{' x '.join(map(str, value.shape))} {str(value.dtype).removeprefix('torch.')}"


def _refused(name: str, what: str, expected: str) -> InputError:
    return InputError(f"transform {name} {what}; expected {expected}")

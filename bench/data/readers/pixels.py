"""Bytes to pixels: decoding, the test preprocessing, the random crop. Equivalent to torchvision on PIL images."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator

import numpy as np
from PIL import Image

from bench.core.preprocessing import Interpolation, Preprocessing
from bench.core.profile import Augmentation
from bench.core.seeds import words

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_TRIES = 10  # of torchvision's RandomResizedCrop before it crops the centre
_WORD = 1 << 32
_MOST_PIXELS = 1 << 26  # of a resized image: 200 MB as RGB; a strip of 1 x 20,000 would take gigabytes
_DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N")  # Pillow's modes of grey images deeper than 8 bits
_SIXTEEN = ("PNG", "PPM")  # formats whose mode "I" holds 16 bits, 65535 being white


def decode(data: bytes) -> Image.Image:
    """Decode a whole image as 8-bit RGB; grey, CMYK and 16-bit grey are converted.

    Raises:
        ValueError: if its pixels are floats or 32-bit numbers of unknown range.
        Exception: Pillow's exceptions, for a damaged file.
    """
    with Image.open(io.BytesIO(data)) as image:
        if image.mode == "F":
            raise ValueError("its pixels are floats of unknown range; expected 8 or 16 bits")
        return _from_grey16(image) if image.mode in _DEEP else image.convert("RGB")


def _from_grey16(image: Image.Image) -> Image.Image:
    """Round 16-bit grey to 8 bits; Pillow's own conversion clips all values above 255 to white."""
    if image.mode == "I" and image.format not in _SIXTEEN:
        raise ValueError("its pixels are 32-bit numbers of unknown range; expected 8 or 16 bits")
    values = np.asarray(image).astype(np.float64)
    return Image.fromarray(np.rint(values / 257).clip(0, 255).astype(np.uint8)).convert("RGB")


def fit(image: Image.Image, how: Preprocessing) -> Image.Image:
    """The test preprocessing: Resize, then CenterCrop (which pads with black), as torchvision's; or timm's border."""
    if how.resize is not None:
        width, height = image.size
        if isinstance(how.resize, tuple):
            height, width = how.resize
        elif how.border is not None:
            longer = max(width, height) / how.resize
            width, height = round(width / longer), round(height / longer)
        elif width <= height:
            width, height = how.resize, int(how.resize * height / width)
        else:
            width, height = int(how.resize * width / height), how.resize
        image = _resize(image, (width, height), how.interpolation)
    if how.crop is None:
        return image
    left, top = (_margin(side, how.crop) for side in image.size)
    if how.border is None:
        return image.crop((left, top, left + how.crop, top + how.crop))
    framed = Image.new("RGB", (how.crop, how.crop), how.border)
    framed.paste(image.convert("RGB"), (-left, -top))
    return framed


def vary(image: Image.Image, how: Augmentation, test: Preprocessing, size: tuple[int, int], seed: int) -> Image.Image:
    """A training image: an inception crop resized to ``size`` (width, height), or ``test``; then the random flip.

    The random numbers come from SHAKE-256 of the seed, so they do not depend on library versions.

    Source: Szegedy et al., arXiv:1409.4842, section 6, as torchvision's RandomResizedCrop has it.
    """
    lots = _uniform(seed)
    mirrored = next(lots) < how.flip
    if how.crop is None:
        image = fit(image, test)
    else:
        left, top, width, height = _inception_box(image.size, how.crop, how.aspect, lots)
        image = _resize(image.crop((left, top, left + width, top + height)), size, test.interpolation)
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else image


def _inception_box(
    size: tuple[int, int], share: tuple[float, float], aspect: tuple[float, float], lots: Iterator[float]
) -> tuple[int, int, int, int]:
    """Left, top, width and height of the crop."""
    width, height = size
    narrow, wide = math.log(aspect[0]), math.log(aspect[1])
    for _ in range(_TRIES):
        area = width * height * (share[0] + (share[1] - share[0]) * next(lots))
        ratio = math.exp(narrow + (wide - narrow) * next(lots))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            top, left = next(lots), next(lots)
            return int(left * (width - w + 1)), int(top * (height - h + 1)), w, h
    w, h = width, height
    if width / height < aspect[0]:
        h = round(w / aspect[0])
    elif width / height > aspect[1]:
        w = round(h * aspect[1])
    return (width - w) // 2, (height - h) // 2, w, h


def _uniform(seed: int) -> Iterator[float]:
    return (word / _WORD for word in words(f"keybench/v1/draw/{seed}".encode()))


def _resize(image: Image.Image, size: tuple[int, int], interpolation: Interpolation) -> Image.Image:
    if image.size == size:
        return image
    if size[0] * size[1] > _MOST_PIXELS:
        raise ValueError(f"{image.width} x {image.height} would become {size[0]} x {size[1]} when resized; too narrow")
    return image.resize(size, _FILTERS[interpolation])


def _margin(side: int, crop: int) -> int:
    """Offset of the crop; negative if the image is smaller. Rounds as torchvision does."""
    return round((side - crop) / 2) if side >= crop else -((crop - side) // 2)

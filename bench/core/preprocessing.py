"""How a stored image becomes the (C, H, W) image in [0, 1] that is attacked and judged; part of every record."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from bench.core.errors import UnknownNameError
from bench.core.frozen import Frozen
from bench.core.names import suggestion

Interpolation = Literal["bilinear", "bicubic"]


class Preprocessing(Frozen):
    """Resize, then crop the middle; what is null is not done."""

    name: str
    resize: int | tuple[int, int] | None = Field(
        None, description="shorter side in pixels, keeping the aspect; or (height, width), not keeping it"
    )
    interpolation: Interpolation = "bicubic"
    crop: int | None = Field(None, ge=1, description="side of the square cut from the middle, in pixels")


# RobustBench's, by its names (robustbench.data.PREPROCESSINGS); torchvision's Resize is bilinear unless told.
_FIXED = {
    "none": Preprocessing(name="none"),
    "Res256Crop224": Preprocessing(name="Res256Crop224", resize=256, interpolation="bilinear", crop=224),
    "BicubicRes256Crop224": Preprocessing(name="BicubicRes256Crop224", resize=256, crop=224),
    "Crop288": Preprocessing(name="Crop288", crop=288),
    "Res224": Preprocessing(name="Res224", resize=(224, 224), interpolation="bilinear"),
}
_FITTED = ("timm-eval", "resize-224")


def preprocessing_names() -> list[str]:
    """The presets."""
    return sorted([*_FIXED, *_FITTED])


def preset(name: str, *, side: int, crop_share: float, interpolation: Interpolation) -> Preprocessing:
    """A preset in figures.

    Args:
        name: ``timm-eval``: resize to side / crop_share, cut the middle, as timm evaluates (248 and 224 for ViT-B/16,
            to which 85.10% belongs). ``resize-224``: all of the image squeezed to a square, the words of
            arXiv:2311.16577. ``none``: as it is. Others are RobustBench's.
        side: Of the model's images, in pixels.
        crop_share: timm's ``crop_pct``.
        interpolation: The model's.

    Raises:
        UnknownNameError: there is no such preset.
    """
    if name == "timm-eval":
        resize = math.floor(side / crop_share)  # as timm.data.transforms_factory rounds
        return Preprocessing(name=name, resize=resize, interpolation=interpolation, crop=side)
    if name == "resize-224":
        return Preprocessing(name=name, resize=(224, 224), interpolation="bicubic")
    if name not in _FIXED:
        raise UnknownNameError(f"unknown preprocessing {name!r}{suggestion(name, preprocessing_names())}")
    return _FIXED[name]

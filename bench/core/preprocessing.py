"""Conversion of a stored image to the (C, H, W) image in [0, 1] that is attacked and judged; part of every record."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from bench.core.errors import UnknownNameError
from bench.core.frozen import Frozen
from bench.core.names import suggestion

Interpolation = Literal["bilinear", "bicubic"]


class Preprocessing(Frozen):
    """Resize, then crop the centre; steps that are null are skipped."""

    name: str
    resize: int | tuple[int, int] | None = Field(
        None, description="shorter side in pixels, keeping the aspect; or (height, width), not keeping it"
    )
    interpolation: Interpolation = "bicubic"
    crop: int | None = Field(None, ge=1, description="side of the square centre crop, in pixels")


# RobustBench's presets by name (robustbench.data.PREPROCESSINGS); torchvision's Resize is bilinear by default.
_FIXED = {
    "none": Preprocessing(name="none"),
    "Res256Crop224": Preprocessing(name="Res256Crop224", resize=256, interpolation="bilinear", crop=224),
    "BicubicRes256Crop224": Preprocessing(name="BicubicRes256Crop224", resize=256, crop=224),
    "Crop288": Preprocessing(name="Crop288", crop=288),
    "Res224": Preprocessing(name="Res224", resize=(224, 224), interpolation="bilinear"),
}
_FITTED = ("timm-eval", "resize-224")


def preprocessing_names() -> list[str]:
    """The names of the presets."""
    return sorted([*_FIXED, *_FITTED])


def preset(name: str, *, side: int, crop_share: float, interpolation: Interpolation) -> Preprocessing:
    """A preset with its parameters as numbers.

    Args:
        name: ``timm-eval``: resize to side / crop_share, crop the centre, as timm evaluates (248 and 224 for ViT-B/16,
            which gives 85.10%). ``resize-224``: the whole image resized to a square, as described in
            arXiv:2311.16577. ``none``: unchanged. Others are RobustBench's.
        side: Side of the model's images, in pixels.
        crop_share: timm's ``crop_pct``.
        interpolation: The model's interpolation.

    Raises:
        UnknownNameError: if there is no such preset.
    """
    if name == "timm-eval":
        resize = math.floor(side / crop_share)  # as timm.data.transforms_factory rounds
        return Preprocessing(name=name, resize=resize, interpolation=interpolation, crop=side)
    if name == "resize-224":
        return Preprocessing(name=name, resize=(224, 224), interpolation="bicubic")
    if name not in _FIXED:
        raise UnknownNameError(f"unknown preprocessing {name!r}{suggestion(name, preprocessing_names())}")
    return _FIXED[name]

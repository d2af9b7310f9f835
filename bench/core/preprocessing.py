"""Conversion of a stored image to the (C, H, W) image in [0, 1] that is attacked and judged; part of every record."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from bench.core.errors import UnknownNameError
from bench.core.frozen import Frozen, unset
from bench.core.names import suggestion

Interpolation = Literal["bilinear", "bicubic"]
CropMode = Literal["squash", "border"]  # timm's, besides its usual one


class Preprocessing(Frozen):
    """Resize, then crop the centre; steps that are null are skipped."""

    name: str
    resize: int | tuple[int, int] | None = Field(
        None, description="shorter side in pixels, keeping the aspect; or (height, width), not keeping it"
    )
    interpolation: Interpolation = "bicubic"
    crop: int | None = Field(None, ge=1, description="side of the square centre crop, in pixels")
    border: tuple[int, int, int] | None = Field(
        None,
        exclude_if=unset,
        description="colour (0 .. 255) of a border around the crop; the longer side is resized then; left out for none",
    )


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


def preset(
    name: str,
    *,
    side: int,
    crop_share: float,
    interpolation: Interpolation,
    crop_mode: CropMode | None = None,
    mean: Sequence[float] | None = None,
) -> Preprocessing:
    """A preset with its parameters as numbers.

    Args:
        name: ``timm-eval``: resize to side / crop_share, crop the centre, as timm evaluates (248 and 224 for ViT-B/16,
            which gives 85.10%). ``resize-224``: the whole image resized to a square, as described in
            arXiv:2311.16577. ``none``: unchanged. Others are RobustBench's.
        side: Side of the model's images, in pixels.
        crop_share: timm's ``crop_pct``.
        interpolation: The model's interpolation.
        crop_mode: timm's, of ``timm-eval``: ``squash`` resizes both sides to side / crop_share, ``border`` resizes the
            longer one and adds a border; None resizes the shorter one.
        mean: The model's mean of the pixels, which is the colour of the border.

    Raises:
        UnknownNameError: if there is no such preset.
    """
    if name == "timm-eval":
        resize = math.floor(side / crop_share)  # as timm.data.transforms_factory rounds
        both = (resize, resize) if crop_mode == "squash" else resize
        border = tuple(round(255 * m) for m in mean or (0.0, 0.0, 0.0)) if crop_mode == "border" else None
        return Preprocessing(name=name, resize=both, interpolation=interpolation, crop=side, border=border)
    if name == "resize-224":
        return Preprocessing(name=name, resize=(224, 224), interpolation="bicubic")
    if name not in _FIXED:
        raise UnknownNameError(f"unknown preprocessing {name!r}{suggestion(name, preprocessing_names())}")
    return _FIXED[name]

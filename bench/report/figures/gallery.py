"""Images of a run: clean, perturbation, adversarial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bench.report.figures.style import BLACK, BLUE, VERMILLION, drawable, drawn, wrapped

Pixels = NDArray[np.float32]
# Inches: a tile of a small and of a large image, gaps between tiles and images, text below, header, margin.
_SMALL, _LARGE, _GAP, _BETWEEN, _TEXT, _HEAD, _EDGE = 0.68, 1.08, 0.05, 0.24, 0.47, 0.20, 0.12
_SMALL_SIDE = 64  # pixels; larger images get larger tiles
_LINE, _SIZE = 0.125, 6.5  # inches per line of text, font size in points
_NICE = (1, 2, 5)  # a scale is one of these times a power of ten
_COLOUR = {"robust": BLUE, "fooled": VERMILLION}


@dataclass(frozen=True)
class Shot:
    """One image.

    Attributes:
        image_id: Its id.
        label: Its true class.
        clean_prediction: The target's prediction.
        adversarial_prediction: The target's prediction for the adversarial image.
        outcome: The verdict.
        clean: Pixels (H, W, 3) in [0, 1].
        adversarial: The same after the attack; non-finite values are drawn black.
    """

    image_id: str
    label: str
    clean_prediction: str
    adversarial_prediction: str
    outcome: str
    clean: Pixels
    adversarial: Pixels


@dataclass(frozen=True)
class _Sheet:
    """Positions, in inches from the lower left corner."""

    tile: float
    columns: int
    rows: int
    title: int  # lines

    @property
    def block(self) -> float:
        return 3 * self.tile + 2 * _GAP

    @property
    def width(self) -> float:
        return max(3.5, 2 * _EDGE + self.columns * self.block + (self.columns - 1) * _BETWEEN)

    @property
    def height(self) -> float:
        return 2 * _EDGE + 0.16 * self.title + _HEAD + self.rows * (self.tile + _TEXT)

    def corner(self, number: int) -> tuple[float, float]:
        """Lower left corner of the first tile of an image."""
        row, column = divmod(number, self.columns)
        inside = self.columns * self.block + (self.columns - 1) * _BETWEEN
        x = (self.width - inside) / 2 + column * (self.block + _BETWEEN)
        return x, self.height - _EDGE - 0.16 * self.title - _HEAD - row * (self.tile + _TEXT) - self.tile


def nice_scale(shots: Sequence[Shot]) -> float:
    """Factor by which perturbations can be enlarged within [-0.5, 0.5]: 1, 2 or 5 times a power of ten."""
    largest = max((float(np.abs(_finite(s.adversarial) - s.clean).max()) for s in shots), default=0.0)
    if not largest:
        return 1.0
    room = 0.5 / largest * (1 + 1e-5)  # eps = 0.1 in float32 is 0.5 / 5
    power = 10.0 ** np.floor(np.log10(room))
    return float(max(n * power for n in _NICE if n * power <= room))


@drawn
def gallery(shots: Sequence[Shot], *, title: str, scale: float) -> Figure:
    """Three tiles per image with id, label, predictions and outcome below.

    Args:
        shots: At least one.
        title: Above all of them.
        scale: Factor by which the perturbation is enlarged, around grey; see :func:`nice_scale`.
    """
    large = max(shots[0].clean.shape[:2]) > _SMALL_SIDE
    columns = min(2 if large else 3, len(shots))
    sheet = _Sheet(_LARGE if large else _SMALL, columns, -(-len(shots) // columns), 0)
    said = wrapped(title, sheet.width - 2 * _EDGE, 8)
    sheet = _Sheet(sheet.tile, columns, sheet.rows, said.count("\n") + 1)
    figure = Figure(figsize=(sheet.width, sheet.height))
    figure.text(0.5, 1 - _EDGE / sheet.height, said, ha="center", va="top", fontsize=8, fontweight="bold")
    for number, shot in enumerate(shots):
        _block(figure, sheet, number, shot, scale)
    return figure


def _block(figure: Figure, sheet: _Sheet, number: int, shot: Shot, scale: float) -> None:
    x, y = sheet.corner(number)
    adversarial = _finite(shot.adversarial)
    tiles = (shot.clean, 0.5 + scale * (adversarial - shot.clean), adversarial)
    heads = ("clean", f"perturbation x {scale:g}", "adversarial")
    for k, (pixels, head) in enumerate(zip(tiles, heads, strict=True)):
        left = x + k * (sheet.tile + _GAP)
        axes = figure.add_axes((left / sheet.width, y / sheet.height, sheet.tile / sheet.width,
                                sheet.tile / sheet.height))  # fmt: skip
        axes.imshow(np.clip(pixels, 0, 1), interpolation="auto")
        axes.set_axis_off()
        if number < sheet.columns:
            _write(figure, sheet, left + sheet.tile / 2, y + sheet.tile + 0.12, head, ha="center", fontsize=_SIZE - 1)
    fits = int(sheet.block * 72 / _SIZE / 0.6)
    lines: list[tuple[str, dict[str, Any]]] = [
        (middle(drawable(shot.image_id), fits), {}),
        (f"label {shot.label} · clean: {shot.clean_prediction} · adv.: {shot.adversarial_prediction}", {}),
        (shot.outcome, {"color": _COLOUR.get(shot.outcome, BLACK), "fontweight": "bold"}),
    ]
    for k, (text, more) in enumerate(lines):
        _write(figure, sheet, x, y - 0.04 - k * _LINE, text, **more)


def _write(figure: Figure, sheet: _Sheet, x: float, y: float, text: str, **more: Any) -> None:
    figure.text(x / sheet.width, y / sheet.height, text, **{"va": "top", "fontsize": _SIZE, **more})


def middle(text: str, most: int) -> str:
    """``text`` shortened to at most ``most`` characters by omitting the middle."""
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[:half]}…{text[-half:]}"


def _finite(pixels: Pixels) -> Pixels:
    return np.nan_to_num(pixels, nan=0.0, posinf=0.0, neginf=0.0)

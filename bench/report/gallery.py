"""The picture of some of a run's images, with a text description."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from bench.report.figures.gallery import Pixels, Shot, middle, nice_scale
from bench.report.figures.gallery import gallery as draw
from bench.report.figures.labels import budget_words
from bench.report.figures.style import png
from bench.store.galleries import Gallery, Pictured, Tile
from bench.store.record import Record
from bench.store.verdicts import Row

# Size limit of the picture in a run's folder; the limit for a submission is 2,000,000.
_MOST_BYTES = 1_500_000
_MOST_LETTERS = 80  # of an id in the caption; the tiles show it in full


@dataclass(frozen=True)
class Picture:
    """The figure for print, the smaller picture that is stored with the record, and its description."""

    figure: Figure
    picture: bytes
    gallery: Gallery


def gallery(record: Record, images: Sequence[Pictured], choice: str) -> Picture:
    """Clean, perturbation and adversarial tiles of ``images``, with labels, predictions and outcomes.

    Args:
        record: Record of the run.
        images: At least one, with the run's verdicts.
        choice: Description of how they were selected.
    """
    shots = [_shot(image) for image in images]
    scale = nice_scale(shots)
    spec = record.spec
    what = f"{spec.defense.name} under {spec.threat.name} ({record.tier}), {spec.attack.name}"
    title = f"run {record.run_id}: {what}, {budget_words(spec.budget)}; perturbation x {scale:g}, grey = 0"
    figure = draw(shots, title=title, scale=scale)
    picture = png(figure, _MOST_BYTES)
    told = "; ".join(_told(image.row) for image in images)
    caption = (
        f"{len(images)} of {record.metrics.images} images of run {record.run_id} ({what}, {spec.budget}), {choice}. "
        f"For each the clean image, the perturbation x {scale:g} (grey = 0) and the adversarial image. {told}."
    )
    about = Gallery(
        run_id=record.run_id,
        verdicts=record.digests.verdicts,
        picture=hashlib.sha256(picture).hexdigest(),
        budget=spec.budget,
        scale=scale,
        choice=choice,
        caption=caption,
        tiles=[_tile(image.row) for image in images],
    )
    return Picture(figure, picture, about)


def _shot(image: Pictured) -> Shot:
    row = image.row
    clean, adversarial = (_coloured(pixels) for pixels in (image.clean, image.adversarial))
    before, after = _class(row.clean_prediction), _class(row.adversarial_prediction)
    return Shot(row.image_id, str(row.label), before, after, str(row.outcome), clean, adversarial)


def _coloured(pixels: Pixels) -> Pixels:
    """(H, W, 3), also for an image with one channel."""
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def _class(prediction: int | None) -> str:
    return "none" if prediction is None else str(prediction)


def _told(row: Row) -> str:
    predicted = f"predicted {_class(row.clean_prediction)}, under attack {_class(row.adversarial_prediction)}"
    return f"{middle(row.image_id, _MOST_LETTERS)}: label {row.label}, {predicted}, {row.outcome}"


def _tile(row: Row) -> Tile:
    return Tile(**{name: getattr(row, name) for name in Tile.model_fields})

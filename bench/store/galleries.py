"""The picture of some of a run's images, with a description as text and as data."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from bench.core.budget import Budget
from bench.core.canonical import sha256_of
from bench.core.errors import CorruptArtifactError
from bench.core.frozen import Frozen, Sealed
from bench.core.nouns import Outcome
from bench.store.documents import read_document, write_document
from bench.store.elsewhere import keep
from bench.store.evidence import Shown
from bench.store.verdicts import Row

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Beside the record, in the run's folder.
DOCUMENT, PICTURE = "gallery.json", "gallery.png"


@dataclass(frozen=True)
class Pictured:
    """One image of a run with its verdict: pixels (H, W, C) float32, the clean ones in [0, 1]."""

    row: Row
    clean: NDArray[np.float32]
    adversarial: NDArray[np.float32]


class Tile(Frozen):
    """One image of the picture, with its verdict."""

    image_id: str
    label: int
    clean_prediction: int | None = Field(description="of the target; null if logits were not finite")
    adversarial_prediction: int | None
    outcome: Outcome
    distance: float | None = Field(description="of the adversarial image from the clean one, in the run's norm")


class Gallery(Sealed):
    """The content of ``gallery.png``."""

    schema_version: Literal[1] = 1
    kind: Literal["gallery"] = "gallery"
    run_id: str = Field(pattern=r"^[0-9a-f]{16}$")
    verdicts: str = Field(pattern=r"^[0-9a-f]{64}$", description="digest of the verdicts that it was made from")
    picture: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of gallery.png")
    budget: Budget = Field(description="of the run, NORM:EPS on the [0, 1] pixel scale")
    scale: float = Field(gt=0, description="factor by which the perturbation is enlarged; grey is zero")
    choice: str = Field(description="how the images were selected, as text")
    caption: str
    tiles: list[Tile] = Field(min_length=1)


def write_gallery(folder: Path, gallery: Gallery, picture: bytes) -> Path:
    """Write picture and description into the run's folder, the description last; returns the picture's path.

    Raises:
        CorruptArtifactError: if ``gallery`` describes another picture.
    """
    if hashlib.sha256(picture).hexdigest() != gallery.picture:
        raise CorruptArtifactError(f"picture {folder / PICTURE} does not have the SHA-256 in {DOCUMENT}")
    keep(folder / PICTURE, picture)
    write_document(folder / DOCUMENT, gallery)
    return folder / PICTURE


def read_gallery(folder: Path) -> Gallery:
    """The description in the run's folder.

    Raises:
        CorruptArtifactError: if it is invalid, or the picture is another one.
    """
    gallery = read_document(folder / DOCUMENT, Gallery, "gallery", of="run_id")
    try:
        found = sha256_of(folder / PICTURE)
    except OSError as error:
        raise CorruptArtifactError(f"picture {folder / PICTURE} cannot be read: {error.strerror}") from None
    if found != gallery.picture:
        raise CorruptArtifactError(f"picture {folder / PICTURE} does not have the SHA-256 in {DOCUMENT}")
    return gallery


def shown(folder: Path) -> Shown | None:
    """Picture and caption for a reader, or None if none was made.

    Raises:
        CorruptArtifactError: if they are damaged.
    """
    if not (folder / DOCUMENT).exists():
        return None
    return Shown(folder / PICTURE, read_gallery(folder).caption)

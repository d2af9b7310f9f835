"""A submitted picture and its captions."""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path

from PIL import Image

from bench.store.evidence import Shown
from bench.store.galleries import DOCUMENT, PICTURE, Gallery
from bench.store.record import Record
from bench.store.untrusted import RefusedError, parse_document, read_capped
from bench.store.verdicts import Row

MOST_BYTES = 2_000_000
DOCUMENT_BYTES = 1_000_000
_PIXELS = 8_000_000  # ours have 1.5 million
_CHUNKS = 1_000  # of a PNG; one of 2 MB has about 30


def take_gallery(folder: Path, record: Record, rows: list[Row]) -> Shown | None:
    """The run's picture; None if there is none, or if it is of other verdicts.

    Raises:
        RefusedError: if it is damaged, too large, or a caption contradicts a verdict.
    """
    if not any((folder / name).is_symlink() or (folder / name).exists() for name in (DOCUMENT, PICTURE)):
        return None
    return check_gallery(read_capped(folder / DOCUMENT, DOCUMENT_BYTES), folder / PICTURE, record, rows)


def check_gallery(document: bytes, path: Path, record: Record, rows: list[Row]) -> Shown | None:
    """The picture at ``path`` with the description in ``document``; None where it is of other verdicts.

    Raises:
        RefusedError: as :func:`take_gallery`.
    """
    gallery = parse_document(document, Gallery, DOCUMENT, prefix="gallery.")
    picture = read_capped(path, MOST_BYTES)
    check_png(picture)
    if hashlib.sha256(picture).hexdigest() != gallery.picture:
        raise RefusedError("gallery.picture", f"is not the SHA-256 of {PICTURE}")
    if (gallery.run_id, gallery.verdicts) != (record.run_id, record.digests.verdicts):
        return None
    if gallery.budget != record.spec.budget:
        raise RefusedError("gallery.budget", f"is not {record.spec.budget}")
    known = {row.image_id: row for row in rows}
    for at, tile in enumerate(gallery.tiles):
        row = known.get(tile.image_id)
        if row is None or any(getattr(row, field) != getattr(tile, field) for field in type(tile).model_fields):
            raise RefusedError(f"gallery.tiles.{at}", "contradicts the image's verdict")
    return Shown(path, gallery.caption)


def check_png(data: bytes) -> None:
    """Check that the bytes are a valid PNG of at most 8 million pixels.

    Raises:
        RefusedError: if they are not.
    """
    _check_chunks(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about sizes that are refused here
            with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
                width, height = image.size
                if width * height > _PIXELS:
                    raise RefusedError(PICTURE, f"declares {width} x {height} pixels; expected at most {_PIXELS}")
                if getattr(image, "n_frames", 1) != 1:
                    raise RefusedError(PICTURE, "is animated; expected one picture")
                image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise RefusedError(PICTURE, f"is not a valid PNG: {' '.join(str(error).split())}") from None


def _check_chunks(data: bytes) -> None:
    """Count the chunks, each of which costs the reader a call: length, name, content, checksum, after 8 bytes."""
    at = chunks = 0
    while 8 + at + 12 <= len(data):
        at += 12 + int.from_bytes(data[8 + at : 12 + at])
        chunks += 1
        if chunks > _CHUNKS:
            raise RefusedError(PICTURE, f"has more than {_CHUNKS} chunks")

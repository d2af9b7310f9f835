"""Pictures of a gallery, re-encoded: only pixels are copied from a record's folder into the site."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

from PIL import Image

PIXELS = 20_000_000  # a gallery of 40 images of 224 pixels in three tiles has 6 million


def repainted(path: Path) -> tuple[bytes, tuple[int, int]] | None:
    """The PNG's pixels in a new PNG, with width and height; None if it is not an image or too large."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=["PNG"]) as image:
                if image.width * image.height > PIXELS:
                    return None
                pixels = image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None
    clean = Image.new("RGB", pixels.size)
    clean.paste(pixels)
    buffer = io.BytesIO()
    clean.save(buffer, "PNG", optimize=True)
    return buffer.getvalue(), clean.size

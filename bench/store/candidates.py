"""Adversarial images by content address: made once per source, judged against every target."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.core.budget import Budget, Norm
from bench.core.cost import Meter
from bench.core.errors import CorruptArtifactError
from bench.store.coded import Floats, decode, encode
from bench.store.files import used, write_whole

SUFFIX = ".images"
_DIGEST = 32  # bytes of SHA-256 at the start of a file

# A margin that stands for an infinite one: the attack saw labels only.
LABELS_ONLY = 1e30


@dataclass(frozen=True)
class Made:
    """The candidates of an attack for some images, and their cost.

    ``images`` (B, C, H, W) float32; ``failed`` (B,) marks images whose attack raised; ``meters`` (by part)
    and ``seconds`` are those of the original attack, even if it is read back. ``margins`` is what the attack saw at
    each candidate, None where it did not say; empty for all of them.
    """

    images: Tensor
    failed: Tensor
    warnings: tuple[str, ...] = ()
    meters: dict[str, Meter] = field(default_factory=dict)
    seconds: float = 0.0
    reused: bool = False
    margins: tuple[float | None, ...] = ()


class CandidateStore:
    """One file per content address: the images by their difference from the clean ones, which the reader has.

    A file is the SHA-256 of its address and all its other bytes; a line of JSON with the SHA-256 of the pixels, the
    cost and the warnings; and the images as :mod:`bench.store.coded` writes them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, address: str, clean: Tensor, budget: Budget) -> Made | None:
        """The entry under ``address``, on the CPU, or None.

        Args:
            address: The digest of everything that determines the images.
            clean: The clean images that it was written with (B, C, H, W), on any device.
            budget: That of the attack.

        Raises:
            CorruptArtifactError: if the file is damaged.
        """
        path = self._path(address)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CorruptArtifactError(f"stored adversarial images {path} cannot be read ({error.strerror})") from None
        try:
            made = _parse(address, data, _floats(clean), budget)
        except Exception as error:  # readers may raise anything for a damaged file
            raise CorruptArtifactError(
                f"stored adversarial images {path} are damaged ({' '.join(str(error).split())[:100]})"
            ) from None
        used(path)
        return made

    def write(self, address: str, made: Made, clean: Tensor, budget: Budget) -> None:
        """Store ``made``, unless the attack failed on some images; the rest as for :meth:`read`."""
        if made.failed.any():
            return
        images = _floats(made.images)
        about = {
            "warnings": list(made.warnings),
            "meters": {name: asdict(meter) for name, meter in made.meters.items()},
            "seconds": round(made.seconds, 3),
            "margins": list(made.margins),
            "pixels": hashlib.sha256(images.tobytes()).hexdigest(),
        }
        body = json.dumps(about).encode() + b"\n" + encode(images, _floats(clean), _radius(budget))
        write_whole(self._path(address), _seal(address, body) + body)

    def _path(self, address: str) -> Path:
        return self._folder / address[:2] / f"{address}{SUFFIX}"


def _parse(address: str, data: bytes, clean: Floats, budget: Budget) -> Made:
    """The content of a file; anything but a whole one of this address and these clean images raises."""
    seal, body = data[:_DIGEST], data[_DIGEST:]
    if _seal(address, body) != seal:
        raise ValueError("its digest is not that of its content at this address")
    head, _, coded = body.partition(b"\n")
    about: dict[str, Any] = json.loads(head)
    pixels = decode(coded, clean, _radius(budget))
    if hashlib.sha256(pixels.tobytes()).hexdigest() != about["pixels"]:
        raise ValueError("its pixels do not have the digest in it: it belongs to other clean images")
    meters = {name: Meter(**values) for name, values in about["meters"].items()}
    margins = tuple(about["margins"])
    if margins and len(margins) != len(pixels):
        raise ValueError("it has not one margin for each image")
    failed = torch.zeros(len(pixels), dtype=torch.bool)
    images, warnings = torch.from_numpy(pixels), tuple(about["warnings"])
    return Made(images, failed, warnings, meters, about["seconds"], reused=True, margins=margins)


def _seal(address: str, body: bytes) -> bytes:
    whole = hashlib.sha256(address.encode())
    whole.update(body)
    return whole.digest()


def _floats(images: Tensor) -> Floats:
    pixels: Floats = images.detach().cpu().contiguous().numpy()
    return pixels


def _radius(budget: Budget) -> float:
    """Only the ball of l-inf has bounds for each value."""
    return budget.radius if budget.norm is Norm.LINF else 0.0

"""Adversarial images by content address: made once per source, judged against every target."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from bench.core.canonical import digest
from bench.core.cost import Meter
from bench.core.errors import CorruptArtifactError
from bench.store.files import write_whole

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
    """One safetensors file per content address, with the digest of its pixels."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, address: str) -> Made | None:
        """The entry under ``address``, or None.

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
            made = _parse(address, data)
        except Exception as error:  # readers may raise anything for a damaged file
            raise CorruptArtifactError(
                f"stored adversarial images {path} are damaged ({' '.join(str(error).split())[:100]})"
            ) from None
        return made

    def write(self, address: str, made: Made) -> None:
        """Store ``made``, unless the attack failed on some images."""
        if made.failed.any():
            return
        images = made.images.detach().cpu().contiguous()
        about = {
            "warnings": list(made.warnings),
            "meters": {name: asdict(meter) for name, meter in made.meters.items()},
            "seconds": round(made.seconds, 3),
            "margins": list(made.margins),
        }
        write_whole(self._path(address), _file(address, images, about))

    def _path(self, address: str) -> Path:
        return self._folder / address[:2] / f"{address}.safetensors"


def _file(address: str, images: Tensor, about: dict[str, Any]) -> bytes:
    """The complete file; its digest covers the pixels, their metadata, and the address."""
    pixels = hashlib.sha256(images.numpy().tobytes()).hexdigest()
    whole = {"about": about, "sha256": digest({"about": about, "address": address, "pixels": pixels})}
    return save({"images": images}, {"made": json.dumps(whole)})


def _parse(address: str, data: bytes) -> Made:
    """The content of a file that is byte-identical to the output of :func:`_file`; anything else raises."""
    length = int.from_bytes(data[:8], "little")
    about = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["made"])["about"]
    images: Tensor = load(data)["images"]
    if _file(address, images, about) != data:
        raise ValueError("its digest is not that of its content at this address")
    meters = {name: Meter(**values) for name, values in about["meters"].items()}
    failed = torch.zeros(len(images), dtype=torch.bool)
    margins = tuple(about.get("margins", ()))
    if margins and len(margins) != len(images):
        raise ValueError("it has not one margin for each image")
    return Made(images, failed, tuple(about["warnings"]), meters, about["seconds"], reused=True, margins=margins)

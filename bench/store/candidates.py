"""Adversarial images by content address: made once per source, judged against every target."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from bench.core.cost import Meter
from bench.core.errors import CorruptArtifactError
from bench.store.files import write_whole


@dataclass(frozen=True)
class Made:
    """The candidates of an attack for some images, and their cost.

    ``images`` (B, C, H, W) float32; ``failed`` (B,) marks images whose attack raised; ``meters`` (by part)
    and ``seconds`` are those of the original attack, even if it is read back.
    """

    images: Tensor
    failed: Tensor
    warnings: tuple[str, ...] = ()
    meters: dict[str, Meter] = field(default_factory=dict)
    seconds: float = 0.0
    reused: bool = False


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
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                images: Tensor = file.get_tensor("images")
                about = json.loads(file.metadata()["about"])
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise CorruptArtifactError(
                f"stored adversarial images {path} cannot be read ({error}); delete the file"
            ) from None
        if _pixels(images) != about["sha256"]:
            raise CorruptArtifactError(f"stored adversarial images {path} do not have their SHA-256; delete the file")
        return Made(
            images,
            torch.zeros(len(images), dtype=torch.bool),
            tuple(about["warnings"]),
            {name: Meter(**values) for name, values in about["meters"].items()},
            about["seconds"],
            reused=True,
        )

    def write(self, address: str, made: Made) -> None:
        """Store ``made``, unless the attack failed on some images."""
        if made.failed.any():
            return
        images = made.images.detach().cpu().contiguous()
        about = {
            "sha256": _pixels(images),
            "warnings": list(made.warnings),
            "meters": {name: asdict(meter) for name, meter in made.meters.items()},
            "seconds": round(made.seconds, 3),
        }
        write_whole(self._path(address), save({"images": images}, {"about": json.dumps(about)}))

    def _path(self, address: str) -> Path:
        return self._folder / address[:2] / f"{address}.safetensors"


def _pixels(images: Tensor) -> str:
    return hashlib.sha256(images.numpy().tobytes()).hexdigest()

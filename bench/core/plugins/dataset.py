"""What a data set is: named splits of images, wherever they lie."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from bench.core.nouns import Batch
from bench.core.plugins.plugin import Plugin
from bench.core.preprocessing import Preprocessing
from bench.core.profile import Augmentation

if TYPE_CHECKING:
    from torch import Tensor


class Split(Protocol):
    """A named part of a data set in a fixed order that does not depend on how it is stored."""

    ids: Sequence[str]
    labels: Sequence[int]
    layout: str  # how the images are stored, in words; empty where there is only one way

    def read(self, positions: Sequence[int]) -> Batch:
        """The images at ``positions`` as they are judged: preprocessed, float32 (B, C, H, W) in [0, 1], on the CPU.

        Raises:
            UnreadableImageError: an image cannot be decoded.
        """

    def draw(self, positions: Sequence[int], seeds: Sequence[int], how: Augmentation) -> tuple[Tensor, Tensor]:
        """Images to train on, uint8 or float32 in [0, 1], with labels (B,) int64.

        What is drawn as an image is read (``how.crop``, ``how.flip``) is drawn from the seed beside its position
        alone. Called in worker processes.
        """

    def digest(self) -> str:
        """SHA-256 of ids and labels, and of pixels where they are in memory; what a trained model is made from."""

    def problems(self) -> list[str]:
        """What is missing or too much against the data set's published make-up, one line each."""


@dataclass(frozen=True)
class Storage:
    """Where a data set lies and how its images are read; only shape and preprocessing may change a pixel.

    Attributes:
        root: The folder that the user names with ``--data``; None for a data set that needs none.
        image_shape: (C, H, W) after preprocessing.
        preprocessing: Resize and crop for ``Split.read``.
        workers: Threads that decode.
        cache: A folder where an index of what lies in archives may be kept.
    """

    root: Path | None
    image_shape: tuple[int, int, int]
    preprocessing: Preprocessing
    workers: int = 1
    cache: Path | None = None


class Dataset(Plugin, kind="data set"):
    """Named splits of images with stable ids.

    A class needs ``split``.

    Attributes:
        needs_root: The images lie in a folder that the user must name.
        sizes: Images by the name of the split, where the make-up is published; `bench plan` reads it.
    """

    needs_root: ClassVar[bool] = False
    sizes: ClassVar[Mapping[str, int]] = {}

    @abstractmethod
    def split(self, name: str, storage: Storage) -> Split:
        """The split ``train`` or ``test``.

        Raises:
            UnknownNameError: there is no such split.
            InputError: nothing readable there; says what was got, what was expected and what to do.
        """

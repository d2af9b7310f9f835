"""The data set plug-in: named splits of images, independent of their storage."""

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
from bench.core.progress import Progress

if TYPE_CHECKING:
    from torch import Tensor


class Split(Protocol):
    """A named part of a data set in a fixed order that does not depend on the storage."""

    ids: Sequence[str]
    labels: Sequence[int]
    layout: str  # description of the storage; empty if there is only one

    def read(self, positions: Sequence[int]) -> Batch:
        """The preprocessed images at ``positions`` for judging, float32 (B, C, H, W) in [0, 1], on the CPU.

        Raises:
            UnreadableImageError: if an image cannot be decoded.
        """

    def draw(self, positions: Sequence[int], seeds: Sequence[int], how: Augmentation) -> tuple[Tensor, Tensor]:
        """Training images, uint8 or float32 in [0, 1], with labels (B,) int64.

        The augmentation applied when reading (``how.crop``, ``how.flip``) depends only on the seed given for each
        position. Called in worker processes.
        """

    def digest(self, positions: Sequence[int] | None = None, progress: Progress | None = None) -> str:
        """SHA-256 of ids, labels and contents of the images at ``positions``, or of all: part of a run's identity.

        The content of an image is its encoded bytes, wherever they are stored, or its pixels if they are in memory.
        """

    def problems(self) -> list[str]:
        """Differences from the data set's published size, one line each."""


@dataclass(frozen=True)
class Storage:
    """Location and reading of a data set; only shape and preprocessing may change a pixel.

    Attributes:
        root: The folder given with ``--data``; None for a data set that needs none.
        image_shape: (C, H, W) after preprocessing.
        preprocessing: Resize and crop for ``Split.read``.
        workers: Decoding threads.
        cache: A folder for indexes of archives, and for digests of images.
        verify: Read every image for its digest, whatever is kept.
    """

    root: Path | None
    image_shape: tuple[int, int, int]
    preprocessing: Preprocessing
    workers: int = 1
    cache: Path | None = None
    verify: bool = False


class Dataset(Plugin, kind="data set"):
    """Named splits of images with stable ids.

    A class needs ``split``.

    Attributes:
        needs_root: Whether the images are in a folder that the user must give.
        folders_in_ids: Whether an id is a path with its folders; otherwise a list of ids may have them or not.
        sizes: Number of images by split, if published; `bench plan` reads it.
    """

    needs_root: ClassVar[bool] = False
    folders_in_ids: ClassVar[bool] = False
    sizes: ClassVar[Mapping[str, int]] = {}

    @abstractmethod
    def split(self, name: str, storage: Storage) -> Split:
        """The split ``train`` or ``test``.

        Raises:
            UnknownNameError: if there is no such split.
            InputError: if nothing there is readable; says what was found, what was expected and what to do.
        """

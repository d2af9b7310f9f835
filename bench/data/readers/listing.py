"""Images in storage order: ids, labels and a source of their bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.core.errors import InputError, UnknownNameError
from bench.core.paths import expanded
from bench.core.plugins import Storage


class Source(Protocol):
    """Encoded images by position. Can be pickled, and read from several threads and processes at once."""

    @property
    def files(self) -> Sequence[Path]:
        """The folder or the archives; none if the images are in memory."""

    def encoded(self, place: int) -> bytes:
        """The file's bytes as stored.

        Raises:
            OSError: if they cannot be read.
        """

    def part(self, place: int) -> tuple[str, str] | None:
        """The path of the file that holds the bytes, and which part of it they are; None if they are in memory."""

    def where(self, place: int) -> str:
        """The location, for error messages."""


@dataclass(frozen=True)
class Listing:
    """Images in storage order; ``ids[i]`` and ``labels[i]`` belong to position ``i`` of ``source``."""

    ids: Sequence[str]
    labels: Sequence[int]
    source: Source
    layout: str = ""  # description


def data_folder(storage: Storage, dataset: str) -> Path:
    """The data folder given by the user.

    Raises:
        InputError: if none was given, or it is not a folder.
    """
    if storage.root is None:
        raise InputError(f"{dataset} needs your images; expected --data FOLDER (or BENCH_DATA in the environment)")
    root = expanded(storage.root).absolute()
    if not root.exists():
        raise InputError(f"data folder {root} does not exist; expected the folder that holds {dataset}: check --data")
    if not root.is_dir():
        raise InputError(f"{root} is a file; expected the folder that holds {dataset}: give --data FOLDER")
    return root


def check_split(dataset: str, name: str) -> None:
    """Raise UnknownNameError unless ``name`` is ``train`` or ``test``."""
    if name not in ("train", "test"):
        raise UnknownNameError(f"{dataset} has no split {name!r}; expected train or test")

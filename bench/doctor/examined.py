"""The object of the checks: the flags of a run, resolved lazily."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.errors import InputError
from bench.core.progress import Progress, Silent
from bench.core.registry import registry
from bench.core.selection import positions, read_ids
from bench.engine.request import Request, Resources
from bench.store.home import Home

if TYPE_CHECKING:  # these import torch, which may be broken
    from bench.core.plugins import Split
    from bench.core.profile import Profile
    from bench.core.spec import Spec
    from bench.engine.making import Making
    from bench.engine.means import Means


@dataclass(frozen=True)
class Question:
    """The question of `bench doctor`.

    Attributes:
        request: The cheapest run with the profile, images and settings of the flags.
        resources: Folders and device of the flags.
        home: Keyring and caches.
        images: Number to decode per split; None for all.
        manifest: File to write.
        progress: Receives progress.
    """

    request: Request
    resources: Resources
    home: Home
    images: int | None = 64
    manifest: Path | None = None
    progress: Progress = field(default_factory=Silent)


class Examined:
    """A Question with its resolved profile, data and weights.

    Attributes:
        model_bytes: Size of the weights of one model, 0 until known.
        manifest: For each split that opens: images, digest of ids, labels and contents, images per class, problems.
    """

    def __init__(self, question: Question) -> None:
        self.question, self.model_bytes = question, 0
        self.manifest: dict[str, dict[str, Any]] = {}

    @cached_property
    def spec(self) -> Spec:
        """A run of the cheapest kind with these flags.

        Raises:
            InputError: if the flags are invalid.
        """
        from bench.engine.resolve import resolve  # noqa: PLC0415 (torch)
        from bench.store.keyring import Keyring  # noqa: PLC0415

        asked = self.question
        foreign = next((name for name in asked.request.settings if not name.startswith("profile.")), None)
        if foreign:
            raise InputError(f"setting {foreign!r} is not a profile setting; expected profile.NAME=VALUE: leave it out")
        request = replace(asked.request, key=None, weights=None)  # they have separate checks
        return resolve(request, Keyring(asked.home.keys)).spec

    @property
    def profile(self) -> Profile:
        """The profile with every override."""
        return self.spec.profile

    @cached_property
    def means(self) -> Means:
        """The settings; models are checked on the CPU, and the network is never used."""
        from bench.engine.means import Means  # noqa: PLC0415
        from bench.store.runs import RunStore  # noqa: PLC0415 (pyarrow)

        asked = self.question
        return Means(
            results=RunStore(asked.resources.results),
            home=asked.home,
            data=asked.resources.data,
            weights=asked.resources.weights,
            offline=True,
            workers=usable_cores(),
            verify_data=True,
            progress=asked.progress,
        )

    def split(self, name: str) -> Split:
        """The split ``train`` or ``test``.

        Raises:
            InputError: if it cannot be opened.
        """
        return self._making.split(name)

    def digest(self, name: str) -> str:
        """SHA-256 of ids, labels and contents of a whole split; every image is read.

        Raises:
            InputError: if it cannot be opened.
        """
        from bench.engine.images_here import digest_of  # noqa: PLC0415 (torch)

        if name == "train":
            return self._making.trained_on
        return digest_of(self.split(name), self.profile, None, self.means)

    @property
    def training(self) -> tuple[Split, str]:
        """The training split with its digest.

        Raises:
            InputError: if it cannot be opened.
        """
        return self.split("train"), self._making.trained_on

    def chosen(self, name: str) -> list[int]:
        """Positions of the images that a run would use.

        Raises:
            InputError: if the split cannot be opened, or a listed image is not in it.
        """
        split, asked = self.split(name), self.question.request
        if name == "train":
            return list(range(len(split.ids)))
        if asked.ids is None:
            return list(range(len(split.ids)))[: asked.limit]
        folders = registry("datasets").load(self.profile.dataset).folders_in_ids
        return positions(split.ids, read_ids(asked.ids, folders=folders))[: asked.limit]

    @cached_property
    def _making(self) -> Making:
        from bench.engine.making import Making  # noqa: PLC0415 (torch)

        return Making(self.spec, self.means)


def usable_cores() -> int:
    """Number of cores available to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

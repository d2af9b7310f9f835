"""The models of a check: those that are stored here, and within a limit those that it is told to train."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.core.errors import BenchError
from bench.core.progress import Advance, Progress
from bench.engine.means import Means
from bench.store.models import ModelCache

TRAIN_LIMIT = 600.0  # seconds for each archive


class CannotError(BenchError):
    """Why a part of a submission cannot be checked here."""


@dataclass(frozen=True)
class Allowance:
    """What a check may train: nothing, or models for ``seconds`` in all for each archive."""

    train: bool = False
    seconds: float = TRAIN_LIMIT


class LimitedCache(ModelCache):
    """The stored models; a missing one is refused, or trained in a folder that is deleted with the check.

    Args:
        folder: Folder of the stored models, which is not changed before :meth:`keep`.
        scratch: Folder of the models of this check.
        allowance: What may be trained.
    """

    def __init__(self, folder: Path, scratch: Path, allowance: Allowance) -> None:
        super().__init__(folder)
        self._scratch, self._allowance = ModelCache(scratch / "models"), allowance
        self._own = scratch / "models"

    def bounded(self, means: Means) -> Means:
        """``means`` for a maker of these models: without leave to train, nothing is downloaded either."""
        if not self._allowance.train:
            return replace(means, train=False, offline=True)
        return replace(means, train=True, progress=Deadline(means.progress, self._allowance.seconds))

    def fetch(self, made_from: dict[str, Any], build: Callable[[Path], None]) -> tuple[Path, str]:
        """The folder and digest of a model.

        Raises:
            CannotError: if it is not stored, and may not be trained.
        """
        if (kept := self.find(made_from)) is not None:
            return kept
        if not self._allowance.train:
            raise CannotError(
                f"{_named(made_from)} is not stored here; give --train to train it (--train-limit SECONDS)"
            )
        return self._scratch.fetch(made_from, build)

    def workspace(self, made_from: dict[str, Any]) -> Path:
        """Folder of checkpoints and log of a training of this check."""
        return self._scratch.workspace(made_from)

    def keep(self) -> None:
        """Store the models that this check trained."""
        for folder in sorted(self._own.glob("*/")):
            self.adopt(folder)


class Deadline:
    """A listener that ends a training that takes too long.

    Args:
        progress: The listener that is told.
        seconds: From the first step of the first training.
    """

    def __init__(self, progress: Progress, seconds: float) -> None:
        self._progress, self._seconds = progress, seconds
        self._end: float | None = None

    def task(self, title: str, total: int, unit: str, done: int = 0) -> Advance:
        """Open a task; its steps raise CannotError after the deadline."""
        told = self._progress.task(title, total, unit, done)
        self._end = self._end or time.monotonic() + self._seconds

        def advance(n: int = 1, done: bool = False) -> None:
            told(n, done=done)
            if not done and self._end is not None and time.monotonic() > self._end:
                raise CannotError(
                    f"{title}: not finished within {self._seconds:g} seconds; give a larger --train-limit"
                )

        return advance

    def note(self, text: str) -> None:
        """Report one line."""
        self._progress.note(text)


def _named(made_from: dict[str, Any]) -> str:
    kind, key = made_from.get("kind"), made_from.get("key")
    of = made_from.get("base", {}) if kind == "base" else made_from.get("defense", {})
    name = of.get("name") or of.get("architecture") if isinstance(of, dict) else None
    words = [str(kind), "model", str(name or ""), f"with key {key}" if key else ""]
    return "the " + " ".join(word for word in words if word)

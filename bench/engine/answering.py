"""How a model is asked by the judge: in this process, or in one of its own (:mod:`bench.engine.apart`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from bench.core.logits import answer, padded

if TYPE_CHECKING:
    from bench.core.nouns import Model


class Answering(Protocol):
    """A model that answers the judge."""

    def answers(self, versions: Sequence[Tensor]) -> list[Tensor]:
        """Logits (B, K) in float32 of each of several versions (B, C, H, W) of the same images, one fixed batch shape.

        Raises:
            InputError: if the model answers with anything else than logits.
        """

    def again(self, images: Tensor, size: int, *, gradient: bool) -> Tensor:
        """Logits (n, K) of ``images``, ``size`` at a time; with ``gradient`` as if a gradient were wanted."""

    def close(self) -> None:
        """Release what the answers need."""


class AnsweringHere:
    """A model of this process.

    Args:
        model: Images (B, C, H, W) in [0, 1] to logits (B, K).
        rows: Images per forward of a verdict, the last one padded.
    """

    def __init__(self, model: Model, rows: int) -> None:
        self._model, self._rows = model, rows

    def answers(self, versions: Sequence[Tensor]) -> list[Tensor]:
        """See :class:`Answering`."""
        return [padded(self._model, images, self._rows) for images in versions]

    def again(self, images: Tensor, size: int, *, gradient: bool) -> Tensor:
        """See :class:`Answering`."""
        return torch.cat([answer(self._model, part, gradient=gradient) for part in images.split(size)])

    def close(self) -> None:
        """See :class:`Answering`."""


def predictions(logits: Tensor) -> list[int | None]:
    """Predicted class of each row, None if a logit is not finite."""
    usable = logits.isfinite().all(1).tolist()
    return [p if ok else None for p, ok in zip(logits.argmax(1).tolist(), usable, strict=True)]

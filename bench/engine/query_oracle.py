"""The deployed model as its users see it: images in, answers out, with every query counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.core.errors import QueryBudgetError
from bench.core.nouns import Access

if TYPE_CHECKING:
    from bench.core.nouns import Model


class QueryOracle:
    """Returns logits without a graph, or labels only; not a module, so that it cannot be inspected or copied.

    An image repeated in a call only to pad the batch (rows that equal the first one) counts as one query.

    Args:
        model: The model that answers.
        access: ``SCORES``: logits (B, K); ``LABELS``: a one-hot row of the predicted class.
        limit: Total number of queries allowed; None for no limit.
    """

    training = False

    def __init__(self, model: Model, access: Access, limit: int | None = None) -> None:
        self._model, self.access, self._limit = model, access, limit
        self._counted, self._most, self._more = 0, 0, torch.zeros((), dtype=torch.int64)

    @property
    def asked(self) -> int:
        """Queries so far; waits for the device."""
        self._counted, self._more = self._counted + int(self._more), torch.zeros((), dtype=torch.int64)
        self._most = self._counted
        return self._counted

    def within(self, limit: int | None) -> QueryOracle:
        """The same model with its own count and limit."""
        return QueryOracle(self._model, self.access, limit)

    def __call__(self, images: Tensor) -> Tensor:
        """Answers to ``images`` (B, C, H, W), shape (B, K).

        Raises:
            QueryBudgetError: if the threat model's limit is exceeded.
        """
        self._counted, self._most = self._counted + 1, self._most + len(images)
        self._more = (images[1:] != images[:1]).flatten(1).any(1).sum() + self._more
        if self._limit is not None and self._most > self._limit and self.asked > self._limit:
            raise QueryBudgetError(f"{self.asked} queries of the target; the threat model allows {self._limit}")
        with torch.no_grad():
            logits = self._model(images.detach())
        return logits if self.access is Access.SCORES else F.one_hot(logits.argmax(1), logits.shape[1]).to(logits)

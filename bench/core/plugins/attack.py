"""What an attack is: images moved inside a budget so that the adversary's source misclassifies them."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from bench.core.budget import Budget, Norm
from bench.core.cost import Calls
from bench.core.nouns import Access, Adversary, Batch, Precision
from bench.core.plugins.plugin import Plugin

if TYPE_CHECKING:
    from torch import Tensor

    from bench.core.nouns import Model


class Attack(Plugin, kind="attack"):
    """Perturb images to raise the loss of the adversary's source.

    A class needs ``norms`` and ``perturb``.

    Attributes:
        norms: Norms of the budgets that it can keep.
        per_image: The candidate of an image does not depend on its batch. Where it does, the batch size is part of what
            identifies the candidates.
        precisions: Arithmetic that its search can use.
        needs: The least that the source must answer with.
        for_transfer: Made to transfer from one model to another, which a ladder counts as T1+.
    """

    norms: ClassVar[frozenset[Norm]]
    per_image: ClassVar[bool] = False
    precisions: ClassVar[frozenset[Precision]] = frozenset({Precision.FP32})
    needs: ClassVar[Access] = Access.GRADIENTS
    for_transfer: ClassVar[bool] = False

    def check(self, source: Model) -> None:
        """Raise InputError for a source that the attack cannot run on. Without it every source will do."""

    def calls(self, classes: int, budget: Budget) -> Calls | None:
        """Passes through the source for one image, least and most; None, as by default, where they are not known."""
        return None

    @abstractmethod
    def perturb(self, adversary: Adversary, batch: Batch) -> Tensor:
        """Candidates of the shape and dtype of ``batch.images``; ``warnings.warn`` what the record should say."""

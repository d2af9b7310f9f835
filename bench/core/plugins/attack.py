"""The attack plug-in: images perturbed within a budget so that the adversary's source misclassifies them."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Self

from bench.core.budget import Budget, Norm
from bench.core.cost import Calls
from bench.core.nouns import Access, Adversary, Batch, Precision
from bench.core.plugins.plugin import Plugin

if TYPE_CHECKING:
    from torch import Tensor

    from bench.core.nouns import Model


class Attack(Plugin, kind="attack"):
    """Perturbs images to increase the loss of the adversary's source.

    A class needs ``norms`` and ``perturb``.

    Attributes:
        norms: Norms of the supported budgets.
        per_image: Whether the candidate of an image is independent of its batch. If not, the batch size is part of the
            candidates' address.
        precisions: Supported arithmetic of its search.
        needs: The least that the source must return.
        for_transfer: Whether it is designed for transfer between models, which a ladder counts as T1+.
    """

    norms: ClassVar[frozenset[Norm]]
    per_image: ClassVar[bool] = False
    precisions: ClassVar[frozenset[Precision]] = frozenset({Precision.FP32})
    needs: ClassVar[Access] = Access.GRADIENTS
    for_transfer: ClassVar[bool] = False

    def check(self, source: Model) -> None:
        """Raise InputError for a source that the attack cannot run on. By default all sources are accepted."""

    def calls(self, classes: int, budget: Budget) -> Calls | None:
        """Passes through the source per image, least and most; None by default, which means unknown."""
        return None

    def first_part(self) -> Self | None:
        """The same attack cut off after a cheap first part, for ``--estimate``; None by default: there is none.

        Its candidates must be exactly this attack's for every image that the part fools, whatever its batch; all others
        stay clean.
        """
        return None

    @abstractmethod
    def perturb(self, adversary: Adversary, batch: Batch) -> Tensor:
        """Return candidates with the shape and dtype of ``batch.images``; ``warnings.warn`` goes to the record."""

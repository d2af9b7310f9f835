import os
import signal
from pathlib import Path

import torch

from bench.core.budget import Norm
from bench.core.plugins import Attack


class _Attack(Attack):
    per_image = True
    norms = frozenset(Norm)


class OutOfBudget(_Attack):
    """Moves every pixel by twice the budget."""

    def perturb(self, adversary, batch):
        far = 2 * adversary.budget.radius
        return torch.where(batch.images > 0.5, batch.images - far, batch.images + far)


class OutOfBox(_Attack):
    """Stays in the ball and leaves [0, 1]."""

    def perturb(self, adversary, batch):
        return batch.images - adversary.budget.radius / 2


class NotANumber(_Attack):
    """Hands back NaN."""

    def perturb(self, adversary, batch):
        return batch.images * float("nan")


class InPlace(_Attack):
    """Moves the clean images too, so that nothing seems to have moved."""

    def perturb(self, adversary, batch):
        return batch.images.mul_(0.2)


class Raising(_Attack):
    """Always raises."""

    def perturb(self, adversary, batch):
        raise ArithmeticError("this attack is broken")


class RaisingOnce(_Attack):
    """Raises until the file of its option exists."""

    until: str

    def perturb(self, adversary, batch):
        if not Path(self.until).exists():
            raise ArithmeticError("not yet")
        return batch.images


class WrongShape(_Attack):
    """Loses a row."""

    def perturb(self, adversary, batch):
        return batch.images[:, :, 1:]


class MadeForTransfer(_Attack):
    """Moves nothing, but says that it is made for transfer."""

    for_transfer = True
    steps: int = 10
    momentum: float = 1.0

    def perturb(self, adversary, batch):
        return batch.images.clone()


class Fatal(_Attack):
    """Kills its process at one image."""

    image: str = ""

    def perturb(self, adversary, batch):
        if self.image in batch.ids:
            os.kill(os.getpid(), signal.SIGKILL)
        return batch.images

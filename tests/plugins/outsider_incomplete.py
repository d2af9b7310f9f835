from pydantic import BaseModel

from bench.core.plugins import Attack, Plugin


class Baseless(Plugin):
    """Has what an attack needs, and inherits from no attack."""

    def perturb(self, adversary, batch):
        return batch.images


class Foreign(BaseModel):
    """Is of another family."""


class Idle(Attack):
    """Does nothing, under no norm."""


def function(adversary, batch):
    return batch.images

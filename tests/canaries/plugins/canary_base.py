"""What the canaries share: the profile's base with something done to it, and nothing trained."""

from torch import nn

from bench.core.plugins import Defense
from bench.models.classifier import freeze


class Canary(Defense, adds=("wrap",)):
    """A defense around the undefended model."""

    def recipe(self, profile):
        return {"canary": type(self).__name__, **self.options()}

    def train(self, kit, folder):
        (folder / "nothing").write_text("")

    def load(self, kit, folder):
        return freeze(self.wrap(kit.start())).to(kit.training.device)

    def wrap(self, base):
        raise NotImplementedError


class Before(nn.Module):
    """A step before the model."""

    def __init__(self, step, model):
        super().__init__()
        self.step, self.model = step, model

    def forward(self, x):
        return self.model(self.step(x))


class Step(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Around(nn.Module):
    """The model and a function of its call: ``function(model, x)``."""

    def __init__(self, model, function):
        super().__init__()
        self.model, self.function = model, function

    def forward(self, x):
        return self.function(self.model, x)

import warnings

import torch
from torch import nn

from bench.core.plugins import Defense


class Probabilities(Defense):
    """The base, handing out probabilities for logits."""

    def recipe(self, profile):
        return {"probabilities": True}

    def train(self, kit, folder):
        (folder / "nothing").write_text("")

    def load(self, kit, folder):
        return nn.Sequential(kit.start(), nn.Softmax(1)).eval().requires_grad_(False)


class Counting(nn.Module):
    """Counts its forwards, as a figure that no counter of operations can follow."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        if torch.utils._python_dispatch._get_current_dispatch_mode() is not None:
            raise RuntimeError("no counter here")
        return self.network(x)


class Graphless(Probabilities):
    """The base without a gradient: quantised to 8 bits, or detached; or one whose operations cannot be counted."""

    how: str = "int8"

    def load(self, kit, folder):
        base = kit.start().eval().requires_grad_(False)
        if self.how == "int8":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it moves to another package
                return torch.ao.quantization.quantize_dynamic(base, {nn.Linear}, torch.qint8)
        return Counting(base) if self.how == "uncounted" else Detached(base)


class Detached(nn.Sequential):
    """Answers without a graph."""

    def forward(self, x):
        return super().forward(x).detach()

"""Models that answer with one of several members, detected by their answers."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bench.checks.battery.asking import SAME, apart


class Average(nn.Module):
    """The mean of the members' logits: the exact expectation of a draw among them."""

    traceable = True  # the same steps for every input

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K) of ``images`` (B, C, H, W)."""
        return torch.stack([member(images) for member in self.members]).mean(0)


def members_of(model: nn.Module) -> list[tuple[str, nn.ModuleList]]:
    """Modules with several ``members``, by their name in the model."""
    held = [(name, getattr(m, "members", None)) for name, m in model.named_modules() if not isinstance(m, Average)]
    return [(name, members) for name, members in held if isinstance(members, nn.ModuleList) and len(members) > 1]


def find_average(model: nn.Module, images: Tensor) -> nn.Module | None:
    """The model with the average instead of a random member; None if no module answers with one of its members.

    Every row of the module's answer must equal a member's output on the same input, and more than one member must be
    drawn. The average is then exact, whatever selects the member.
    """
    for name, members in members_of(model):
        if _draws(model, name, members, images):
            if not name:
                return Average(list(members)).eval()
            whole = copy.deepcopy(model)
            parent, _, leaf = name.rpartition(".")
            setattr(whole.get_submodule(parent), leaf, Average(list(whole.get_submodule(name).members)).eval())  # type: ignore[arg-type]
            return whole
    return None


def _draws(model: nn.Module, name: str, members: nn.ModuleList, images: Tensor) -> bool:
    seen: list[tuple[Tensor, Tensor]] = []

    def look(_: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
        seen.append((given[0].detach().clone(), out.detach()))

    handle = model.get_submodule(name).register_forward_hook(look)
    try:
        with torch.no_grad():
            model(images.clone())
    finally:
        handle.remove()
    if len(seen) != 1:
        return False
    given, out = seen[0]
    with torch.no_grad():
        each = torch.stack([apart(member(given).float(), out.float()) for member in members])
    which = each.argmin(0)
    return bool((each.amin(0) < SAME).all()) and len(which.unique()) > 1

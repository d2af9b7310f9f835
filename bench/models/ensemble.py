"""Several models that answer jointly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from bench.core.canonical import digest
from bench.core.nouns import Trained


class Ensemble(nn.Module):
    """The mean of the logits of several models."""

    traceable = True  # the same steps for every input

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K) of ``images`` (B, C, H, W)."""
        return torch.stack([member(images) for member in self.members]).mean(0)


def together(members: Sequence[Trained]) -> Trained:
    """The members as one frozen model, with duplicates counted once; a single member is returned unchanged."""
    members = list({member.digest: member for member in members}.values())
    if len(members) == 1:
        return members[0]
    model = Ensemble([cast("nn.Module", m.model) for m in members]).eval()
    found = digest({"kind": "ensemble", "members": [m.digest for m in members]})
    return Trained(model, found, " + ".join(m.note for m in members))

"""The members of a model that draws one of them for each image: each is judged exactly."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor, nn

from bench.core.logits import padded
from bench.core.nouns import Batch
from bench.engine.answering import predictions

if TYPE_CHECKING:
    from bench.core.nouns import Model

_PROBES = 32  # images on which several members must be drawn


def members_of(model: Model, shape: Sequence[int], device: str) -> list[Model]:
    """Each member as a model of its own; empty for a model that does not answer with one of several.

    A member is recognised by its answers (:func:`bench.checks.battery.ensemble.find_drawn`), on noise of several
    brightnesses. The judged model itself is not called: its copy is.

    Args:
        model: Images (B, C, H, W) to logits (B, K).
        shape: (C, H, W).
        device: Where the model is.
    """
    from bench.checks.battery.ensemble import find_drawn  # noqa: PLC0415 (a second to import; only judging needs it)

    if not isinstance(model, nn.Module):
        return []
    drawn = torch.rand(_PROBES, 4, *shape, generator=Generator().manual_seed(0))
    probes = (drawn[:, 0] * drawn[:, 1, :1, :1, :1]).to(device)
    with suppress(Exception):  # whatever a model raises for such images, the judge asks it again and tells
        whole = copy.deepcopy(model)
        if found := find_drawn(whole, probes):
            name, members = found
            return [_Alone(whole, name, member) for member in members] if name else list(members)
    return []


def shares(
    members: Sequence[Model], batch: Batch, x_adv: Tensor, valid: Sequence[bool], rows: int
) -> list[float | None]:
    """For each image the share of members that classify the candidate correctly; None where it is not valid.

    It is the probability that a fresh draw is correct.

    Args:
        members: At least one.
        batch: Clean images with labels.
        x_adv: Candidates, (B, C, H, W).
        valid: Whether each candidate counts (B).
        rows: Images per forward, the last one padded.
    """
    usable = torch.tensor(list(valid), device=x_adv.device).view(-1, 1, 1, 1)
    candidates, labels = torch.where(usable, x_adv, batch.images), batch.labels.tolist()
    said = [predictions(padded(member, candidates, rows)) for member in members]
    right = [sum(found == label for found in each) for *each, label in zip(*said, labels, strict=True)]
    return [count / len(members) if ok else None for count, ok in zip(right, valid, strict=True)]


class _Alone:
    """A model in which one member stands for the module that draws."""

    def __init__(self, whole: nn.Module, name: str, member: nn.Module) -> None:
        parent, _, self._leaf = name.rpartition(".")
        self._whole, self._parent, self._member = whole, whole.get_submodule(parent), member

    def __call__(self, images: Tensor) -> Tensor:
        setattr(self._parent, self._leaf, self._member)
        logits: Tensor = self._whole(images)
        return logits

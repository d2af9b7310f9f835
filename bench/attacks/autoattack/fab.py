"""FAB: find the nearest misclassified point with steps along the linearised boundary (arXiv:1907.02044)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.attacks.autoattack.geometry import length, noise, per_image
from bench.attacks.autoattack.hyperplane import to_plane
from bench.attacks.autoattack.losses import ranked_targets
from bench.attacks.autoattack.oracle import Oracle
from bench.attacks.autoattack.types import Newcomers, Probe, State
from bench.core.budget import Budget, Norm
from bench.core.cost import Passes
from bench.core.devices import uploaded

# arXiv:1907.02044, section 4: overshoot, backward step, largest pull towards the clean image.
_OVERSHOOT, _BACKWARD, _MOST_PULL = 1.05, 0.9, 0.1
# Random starts lie at half the radius; distances below this count as zero (both as in the official code).
_START, _LEAST = 0.5, 1e-8


@dataclass(frozen=True)
class Fab:
    """Fast adaptive boundary attack, untargeted: every class is a candidate in each step.

    Attributes:
        budget: l-inf or l2; points within it count as fooled, but the search itself may leave it.
        iterations: Steps per run.
        restarts: The first run starts at the image, further runs at random points.
    """

    budget: Budget
    iterations: int = 100
    restarts: int = 5
    name: str = "fab"

    @property
    def steps(self) -> int:
        """Two calls per iteration: a gradient, then a forward pass at the new point."""
        return self.iterations

    def runs(self, classes: int) -> int:
        """One run per restart."""
        return self.restarts

    def passes(self, classes: int) -> Passes:
        """The gradient of every logit, and a forward at the new point."""
        return Passes(2, classes)

    def begin(self, newcomers: Newcomers) -> State:
        """At the image, or on a random sphere of half the radius in later restarts."""
        x = newcomers.images
        return {
            "image": x.clone(),
            "label": newcomers.labels.clone(),
            "point": self._starts(newcomers),
            "distance": x.new_full((len(x),), float("inf")),
        }

    def step(self, state: State, oracle: Oracle) -> tuple[State, Probe]:
        """Project the point and the image onto the boundary's plane, mix, evaluate, step back."""
        norm, image, label = self.budget.norm, state["image"], state["label"]
        gap, normal = self._boundary(state, oracle)
        point = self._land(state["point"], image, gap, normal)
        logits = oracle.logits(point)
        wrong = logits.argmax(1) != label
        distance = length(point - image, norm)
        record = wrong & (distance < state["distance"])
        back = torch.where(per_image(wrong, point), image + (point - image) * _BACKWARD, point)
        after = state | {"point": back, "distance": torch.where(record, distance, state["distance"])}
        return after, Probe(point, logits, eligible=record & (distance <= self.budget.radius))

    def _land(self, point: Tensor, image: Tensor, gap: Tensor, normal: Tensor) -> Tensor:
        norm, flat, origin, w = self.budget.norm, point.flatten(1), image.flatten(1), normal.flatten(1)
        near = to_plane(flat, w, gap, norm)
        # The plane as seen from the clean image: it is the same plane, so its gap follows from the point's.
        far = to_plane(origin, w, gap + (w * (origin - flat)).sum(1), norm)
        here, there = length(near, norm).clamp(min=_LEAST), length(far, norm).clamp(min=_LEAST)
        pull = (here / (here + there)).clamp(max=_MOST_PULL)[:, None]
        mixed = (flat + _OVERSHOOT * near) * (1 - pull) + (origin + _OVERSHOOT * far) * pull
        return mixed.clamp_(0, 1).view_as(point)

    def _starts(self, newcomers: Newcomers) -> Tensor:
        x, norm = newcomers.images, self.budget.norm
        starts = x.clone()
        for row, run in enumerate(newcomers.runs):
            if run % self.restarts:
                raw = noise(x[row : row + 1], newcomers.streams[row : row + 1], norm)
                scaled = self.budget.radius * raw / per_image(length(raw, norm), raw) * _START
                starts[row] = (x[row] + scaled[0]).clamp(0, 1)
        return starts

    def _boundary(self, state: State, oracle: Oracle) -> tuple[Tensor, Tensor]:
        """Logit difference (S,) to the class with the nearest linearised boundary, and its gradient."""
        logits, jacobian = oracle.jacobian(state["point"])
        rows, label = torch.arange(len(logits), device=logits.device), state["label"]
        gaps = logits - logits[rows, label][:, None]
        normals = jacobian - jacobian[rows, label][:, None]
        flat = normals.flatten(2)
        # The dual norm of the normal turns a logit difference into a distance.
        dual = flat.abs().sum(2) if self.budget.norm is Norm.LINF else (flat * flat).sum(2).sqrt()
        distances = (gaps.abs() / (dual + 1e-12)).scatter(1, label[:, None], float("inf"))
        nearest = distances.argmin(1)
        return gaps[rows, nearest], normals[rows, nearest]


@dataclass(frozen=True)
class FabTargeted(Fab):
    """FAB against one class at a time, the most likely other classes in turn: one gradient per step.

    Attributes:
        targets: Target classes per image, by descending clean logit; capped at the number of other classes.
    """

    restarts: int = 1
    name: str = "fab-t"
    targets: int = 9

    def runs(self, classes: int) -> int:
        """Every target with every restart."""
        return min(self.targets, classes - 1) * self.restarts

    def passes(self, classes: int) -> Passes:
        """One gradient, and a forward at the new point."""
        return Passes(2, 1)

    def begin(self, newcomers: Newcomers) -> State:
        """As FAB, with the target class."""
        ranks = torch.tensor([1 + run // self.restarts for run in newcomers.runs])
        target = ranked_targets(newcomers.logits, newcomers.labels, uploaded(ranks, newcomers.labels.device))
        return super().begin(newcomers) | {"target": target}

    def _boundary(self, state: State, oracle: Oracle) -> tuple[Tensor, Tensor]:
        def gap(logits: Tensor) -> Tensor:
            pair = logits.gather(1, torch.stack([state["target"], state["label"]], dim=1))
            return pair[:, 0] - pair[:, 1]

        _, values, normal = oracle.gradient(state["point"], gap)
        return values, normal

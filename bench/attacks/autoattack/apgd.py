"""APGD on the cross-entropy (Croce and Hein, arXiv:2003.01690, algorithm 1), with a schedule per image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.attacks.autoattack.geometry import can_skip, chosen, length, per_image, unit, unit_noise
from bench.attacks.autoattack.losses import cross_entropy
from bench.attacks.autoattack.oracle import Oracle
from bench.attacks.autoattack.types import Newcomers, Probe, State
from bench.core.budget import Budget, Norm
from bench.core.cost import Passes

# arXiv:2003.01690, section 3: momentum; first step in units of eps; checkpoints after 22% of the iterations, then at
# intervals that shrink by 3% down to 6%; the step is halved unless the loss rose in over 75% of the steps in between.
_MOMENTUM = 0.75
_FIRST_STEP = 2.0
_FIRST_CHECK, _CLOSER, _LEAST_CHECK = 0.22, 0.03, 0.06
_RHO = 0.75


@dataclass(frozen=True)
class Apgd:
    """Auto-PGD on the cross-entropy; subclasses for other losses override ``name`` and ``loss``.

    Attributes:
        budget: l-inf or l2 ball.
        iterations: Steps per run.
        restarts: Random starts, run in turn while the image remains robust.
        samples: Gradients averaged per step, for randomised models (EOT).
    """

    budget: Budget
    iterations: int = 100
    restarts: int = 1
    samples: int = 1
    name: str = "apgd-ce"

    @property
    def steps(self) -> int:
        """Iterations per run plus one, because the start is evaluated too."""
        return self.iterations + 1

    def runs(self, classes: int) -> int:
        """One run per restart."""
        return self.restarts

    def passes(self, classes: int) -> Passes:
        """One gradient per sample."""
        return Passes(1, 1) * self.samples

    def loss(self, logits: Tensor, state: State) -> Tensor:
        """The loss to maximise, (S,)."""
        return cross_entropy(logits, state["label"])

    def begin(self, newcomers: Newcomers) -> State:
        """A random point on the sphere around each image, clipped to [0, 1]."""
        x, eps = newcomers.images, self.budget.radius
        start = (x + eps * unit_noise(x, newcomers.streams, self.budget.norm)).clamp(0, 1)
        zero = x.new_zeros(len(x))
        first = max(int(_FIRST_CHECK * self.iterations), 1)
        state = {
            "image": x.clone(),
            "label": newcomers.labels.clone(),
            "point": start,
            "previous": start.clone(),
            "best_point": start.clone(),
            "best_gradient": torch.zeros_like(x),
            "best": zero - float("inf"),
            "best_at_check": zero - float("inf"),
            "loss": zero.clone(),
            "rises": zero.clone(),
            "halved": zero + 1,
            "step": zero + _FIRST_STEP * eps,
            "age": newcomers.labels.new_zeros(len(x)),
            "since": newcomers.labels.new_zeros(len(x)),
            "span": newcomers.labels.new_full((len(x),), first),
        }
        if self.budget.norm is Norm.LINF:
            state |= {"low": (x - eps).clamp(0, 1), "high": (x + eps).clamp(0, 1)}
        return state

    def step(self, state: State, oracle: Oracle) -> tuple[State, Probe]:
        """Evaluate the point, keep the best, adapt the step size at checkpoints, take a step."""
        logits, loss, gradient = oracle.gradient(state["point"], lambda z: self.loss(z, state), self.samples)
        after = _remember(state, loss, gradient)
        point, gradient = self._checkpoint(after, state["point"], gradient)
        after["previous"] = point
        after["point"] = self._advance(after, state["previous"], gradient)
        after["age"] = state["age"] + 1
        return after, Probe(state["point"], logits)

    def _checkpoint(self, state: State, point: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Halve the step and return to the best point where progress has stalled (conditions 1 and 2)."""
        due = state["since"] == state["span"]
        if can_skip(due):
            return point, gradient
        stalled = state["rises"] <= state["span"] * _RHO
        stuck = (state["halved"] == 0) & (state["best_at_check"] >= state["best"])
        halve = due & (stalled | stuck)
        least, closer = max(int(_LEAST_CHECK * self.iterations), 1), max(int(_CLOSER * self.iterations), 1)
        state["halved"] = torch.where(due, halve.to(state["halved"].dtype), state["halved"])
        state["best_at_check"] = torch.where(due, state["best"], state["best_at_check"])
        state["step"] = torch.where(halve, state["step"] / 2, state["step"])
        state["span"] = torch.where(due, (state["span"] - closer).clamp(min=least), state["span"])
        state["since"] = torch.where(due, 0, state["since"])
        state["rises"] = torch.where(due, 0.0, state["rises"])
        return chosen(halve, state["best_point"], point), chosen(halve, state["best_gradient"], gradient)

    def _advance(self, state: State, previous: Tensor, gradient: Tensor) -> Tensor:
        """Gradient step, momentum, projection; ``state["previous"]`` is the start of the step."""
        point, size = state["previous"], per_image(state["step"], gradient)
        weight = per_image(torch.where(state["age"] > 0, _MOMENTUM, 1.0), point)
        direction = gradient.sign() if self.budget.norm is Norm.LINF else unit(gradient, self.budget.norm)
        ahead = self._project(torch.addcmul(point, size, direction), state)
        moved = torch.addcmul(point, ahead - point, weight)
        return self._project(moved.addcmul_(point - previous, 1 - weight), state)

    def _project(self, x: Tensor, state: State) -> Tensor:
        if self.budget.norm is Norm.LINF:
            return torch.clamp(x, state["low"], state["high"])
        delta = x - state["image"]
        size = length(delta, Norm.L2)
        scale = size.clamp(max=self.budget.radius) / (size + 1e-12)
        return torch.addcmul(state["image"], delta, per_image(scale, delta)).clamp_(0, 1)


def _remember(state: State, loss: Tensor, gradient: Tensor) -> State:
    """Best point so far and the number of loss increases; the official code compares the first step's loss with 0."""
    first = state["age"] == 0
    better = loss > state["best"]
    after = dict(state)
    after["best_point"] = chosen(better, state["point"], state["best_point"])
    after["best_gradient"] = chosen(better, gradient, state["best_gradient"])
    after["best"] = torch.where(better, loss, state["best"])
    after["best_at_check"] = torch.where(first, loss, state["best_at_check"])
    after["rises"] = state["rises"] + ((loss > state["loss"]) & ~first)
    after["loss"] = torch.where(first, 0.0, loss)
    after["since"] = state["since"] + ~first
    return after

"""Projected gradient descent with a per-image random start."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Generator, Tensor

from bench.core.ball import project, random_start, steepest
from bench.core.budget import Budget, Norm
from bench.core.cost import Calls, Passes
from bench.core.devices import uploaded
from bench.core.nouns import Adversary, Batch, Precision
from bench.core.numerics import numerics
from bench.core.plugins import Attack
from bench.core.seeds import seed_of


class Pgd(Attack):
    """Projected gradient descent, fixed step, random start; keeps each image's highest-loss iterate."""

    per_image = True
    norms = frozenset(Norm)
    precisions = frozenset(Precision)

    steps: int = Field(50, ge=1)
    restarts: int = Field(1, ge=1)
    relative_step: float = Field(0.1, gt=0, description="step length as a share of eps")
    loss: Literal["margin", "cross-entropy"] = "margin"

    def calls(self, classes: int, budget: Budget) -> Calls:
        """One gradient at the start and one after every step, whether the image is fooled or not."""
        passes = Passes(1, 1) * (self.restarts * (self.steps + 1))
        return Calls(passes, passes)

    def perturb(self, adversary: Adversary, batch: Batch) -> Tensor:
        """Return the highest-loss iterate over steps and restarts for every image; shape and dtype of the images.

        Source: Madry et al., arXiv:1706.06083; the margin loss as in Carlini and Wagner, arXiv:1608.04644.
        """
        size = adversary.batch_size or len(batch)
        parts = [batch.take(range(i, min(i + size, len(batch)))) for i in range(0, len(batch), size)]
        return torch.cat([self._climb(adversary, part) for part in parts])

    def _climb(self, adversary: Adversary, batch: Batch) -> Tensor:
        best, best_loss = batch.images, torch.full((len(batch),), -torch.inf, device=batch.images.device)
        seen = best_loss
        for restart in range(self.restarts):
            x = random_start(batch.images, self._noise(adversary, batch, restart), adversary.budget)
            for step in range(self.steps + 1):
                loss, gradient, lead = self._ascent(adversary, x, batch.labels)
                better = loss > best_loss
                best = torch.where(better.view(-1, 1, 1, 1), x, best)
                best_loss = torch.where(better, loss, best_loss)
                seen = torch.where(better, lead, seen)
                if step < self.steps:
                    move = self.relative_step * adversary.budget.radius * steepest(gradient, adversary.budget.norm)
                    x = project(x + move, batch.images, adversary.budget)
        if adversary.precision is Precision.FP32:
            known = zip(batch.ids, seen.tolist(), best_loss.isfinite().tolist(), strict=True)
            adversary.margins.update({image_id: value for image_id, value, found in known if found})
        return best

    def _ascent(self, adversary: Adversary, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The loss, its gradient, and the margin of the logits."""
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            with numerics(adversary.precision, x.device.type):
                logits = adversary.source(x).float()
            lead = margin(logits, labels)
            loss = lead if self.loss == "margin" else F.cross_entropy(logits, labels, reduction="none")
            (gradient,) = torch.autograd.grad(loss.sum(), x)
        return loss.detach(), gradient, lead.detach()

    def _noise(self, adversary: Adversary, batch: Batch, restart: int) -> Tensor:
        seeds = [seed_of(adversary.seed, image, "pgd", restart) for image in batch.ids]
        shape = batch.images.shape[1:]
        rows = [torch.rand(shape, generator=Generator().manual_seed(s)) * 2 - 1 for s in seeds]
        return uploaded(torch.stack(rows), batch.images.device).to(batch.images.dtype)


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Largest wrong logit minus the correct one, shape (B,): positive where the source is fooled."""
    right = logits.gather(1, labels[:, None]).squeeze(1)
    return logits.scatter(1, labels[:, None], -torch.inf).amax(1) - right

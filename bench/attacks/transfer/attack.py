"""The composable transfer attack: momentum ascent on an averaged gradient, with published components as options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor

from bench.attacks.autoattack.batching import FLOOR, attempt, pad
from bench.attacks.transfer.draws import Draws
from bench.attacks.transfer.gradient import Copies, Loss, Slope, gaussian
from bench.attacks.transfer.neighbours import Neighbours, entries, flat_gradient, near, scaled
from bench.attacks.transfer.tokens import hooked, patch_side, refuse_without_blocks
from bench.core.ball import project, steepest
from bench.core.budget import Budget, Norm
from bench.core.cost import Calls, Passes
from bench.core.devices import on_host, uploaded
from bench.core.errors import BenchError
from bench.core.nouns import Adversary, Batch, Precision
from bench.core.plugins import Attack

if TYPE_CHECKING:
    from bench.core.nouns import Model

# Default images per batch on a CPU: larger batches exceed its cache.
_SLOTS = 128


class Transfer(Attack):
    """Momentum attack on averaged copies with DI, TI, SI, VMI, PGN, BSR, PNA, TGR as options; designed for transfer."""

    per_image = True
    for_transfer = True  # a ladder ranks it one tier above plain AutoAttack
    norms = frozenset(Norm)
    precisions = frozenset(Precision)

    steps: int = Field(30, ge=1)
    relative_step: float = Field(0.1, gt=0, description="step length as a share of eps")
    momentum: float = Field(1.0, ge=0, description="share of the last direction that is kept (mu); 0: none")
    nesterov: bool = Field(False, description="take the gradient at the Nesterov look-ahead point")
    loss: Loss = "margin"
    keep: Literal["last", "best"] = Field("last", description="return the last or the highest-loss iterate")
    samples: int = Field(3, ge=1, description="random copies that a gradient is averaged over")
    shift: int = Field(0, ge=0, description="largest shift of the copies in pixels")
    noise: float = Field(2.0, ge=0, description="standard deviation of the noise on copies, in eps")
    diversity: float = Field(0.0, ge=0, le=1, description="DI: probability that a copy is resized and padded")
    resize: float = Field(1.1, ge=1, description="DI: largest ratio of sides")
    translation: int = Field(9, ge=0, description="TI: side of the kernel in pixels, odd; 0: none")
    sigma: float | None = Field(None, gt=0, description="TI: of the kernel in pixels; null: a sixth of side - 1")
    scales: int = Field(1, ge=1, description="SI: copies x / 2^i")
    blocks: int = Field(1, ge=1, description="BSR: strips, and pieces of a strip; 1: none")
    degrees: float = Field(24.0, ge=0, description="BSR: largest rotation of a strip")
    neighbours: int = Field(0, ge=0, description="VMI: points that the variance is measured on; 0: none")
    neighbour_radius: float = Field(1.5, gt=0, description="VMI: beta, in eps")
    flat: int = Field(0, ge=0, description="PGN: points around the image; 0: none")
    flat_radius: float = Field(3.0, gt=0, description="PGN: zeta, in eps")
    flat_balance: float = Field(0.5, ge=0, le=1, description="PGN: delta, share of the gradient one step further")
    pna: bool = Field(False, description="ViT: treat attention maps as constants")
    patch_out: float = Field(1.0, gt=0, le=1, description="ViT: share of patches that is perturbed in each step")
    stretch: float = Field(0.0, ge=0, description="PNA-PatchOut: weight of the perturbation's length in the loss")
    tgr: bool = Field(False, description="ViT: remove extreme gradients of tokens")

    @field_validator("translation")
    @classmethod
    def _kernel_has_a_middle(cls, value: int) -> int:
        if value and value % 2 == 0:
            raise ValueError("the side of the kernel must be odd, or 0 for none")
        return value

    def check(self, source: Model) -> None:
        """Raise InputError if an option needs a vision transformer and ``source`` is not one."""
        self._refuse(source)

    def _refuse(self, source: object) -> None:
        wanted = [name for name in ("pna", "tgr") if getattr(self, name)] + ["patch_out"] * (self.patch_out < 1)
        if wanted:
            refuse_without_blocks(source, " and ".join(wanted))

    def calls(self, classes: int, budget: Budget) -> Calls:
        """The same number of gradients for every image, whether it is fooled or not."""
        points = self.steps * (2 * self.flat or 1) * (1 + self.neighbours) - self.neighbours * (2 * self.flat or 1)
        passes = Passes(1, 1) * (points * self.samples * self.scales)
        passes += Passes(self.steps + 1 if self.keep == "best" else 0)
        return Calls(passes, passes)

    def perturb(self, adversary: Adversary, batch: Batch) -> Tensor:
        """Return a point of the ball for every image, attacked to the last step; shape and dtype of the images.

        Raises:
            InputError: if an option needs a vision transformer.

        Source: momentum as in Dong et al., arXiv:1710.06081; the parts as named in the options and docs/attacks.md.
        """
        self._refuse(adversary.source)
        host = on_host(batch.images.device)
        slots = adversary.batch_size or (_SLOTS if host else len(batch))
        done: list[Tensor] = []
        with hooked(adversary.source, constant_attention=self.pna, damped=self.tgr):
            while sum(map(len, done)) < len(batch):
                start = sum(map(len, done))
                part = batch.take(range(start, min(start + slots, len(batch))))
                climbed = attempt(lambda part=part: self._climb(adversary, _padded(part))[: len(part)])  # type: ignore[misc]
                if climbed is None and slots == 1:
                    raise BenchError("out of memory with a single image; use a smaller model or another device")
                slots = slots if climbed is not None else slots // 2
                done += [] if climbed is None else [climbed]
        return torch.cat(done)

    def _climb(self, adversary: Adversary, batch: Batch) -> Tensor:
        """Attack one batch."""
        clean, budget = batch.images, adversary.budget
        slope, length = self._slope(adversary, batch), self.relative_step * adversary.budget.radius
        x, g, v = clean, torch.zeros_like(clean), torch.zeros_like(clean)
        best, record = clean, slope.value(clean) if self.keep == "best" else None
        for step in range(self.steps):
            mask = self._patches(adversary, slope, clean, step)
            ahead = length * self.momentum * g / entries(g, budget.norm) if self.nesterov else torch.zeros_like(g)
            point = clean + (x - clean + ahead) * mask
            gradient = self._gradient(slope, point, budget, step) * mask
            g = self.momentum * g + scaled(gradient + v + self.stretch * _outward(x - clean))
            if self.neighbours and step + 1 < self.steps:
                v = self._variance(slope, point, gradient, budget, step) * mask
            x = project(x + length * steepest(g, budget.norm), clean, budget)
            if record is not None:
                now = slope.value(x)
                best = torch.where((now > record).view(-1, 1, 1, 1), x, best)
                record = torch.maximum(now, record)
        return x if record is None else best

    def _slope(self, adversary: Adversary, batch: Batch) -> Slope:
        budget = adversary.budget
        noise = self.noise * budget.radius / entries(batch.images, budget.norm)
        copies = Copies(
            self.samples, self.shift, noise, self.diversity, self.resize, self.scales, self.blocks, self.degrees
        )
        side = self.translation
        here = batch.images.device
        kernel = uploaded(gaussian(side, self.sigma or (side - 1) / 6), here) if side > 1 else None
        draws = Draws(adversary.seed, batch.ids, "transfer", here)
        return Slope(adversary, batch.labels, self.loss, copies, kernel, draws)

    def _gradient(self, slope: Slope, x: Tensor, budget: Budget, *purpose: str | int) -> Tensor:
        """The gradient of the loss at ``x``, or of its flat neighbourhood."""
        if not self.flat:
            return slope(x, *purpose)
        around, length = Neighbours(self.flat, self.flat_radius), self.relative_step * budget.radius
        return flat_gradient(slope, x, around, self.flat_balance, length, budget, *purpose)

    def _variance(self, slope: Slope, x: Tensor, gradient: Tensor, budget: Budget, step: int) -> Tensor:
        """Mean gradient of the neighbours minus the gradient at ``x``. Source: VMI, arXiv:2103.15571, eq. (7)."""
        around, total = Neighbours(self.neighbours, self.neighbour_radius), torch.zeros_like(x)
        for i in range(around.count):
            point = near(slope, x, around, budget, "variance", step, i)
            total += self._gradient(slope, point, budget, "variance", step, i)
        return total / around.count - gradient

    def _patches(self, adversary: Adversary, slope: Slope, x: Tensor, step: int) -> Tensor:
        """1 where a pixel's patch is perturbed in this step, (B, 1, H, W). Source: PatchOut, arXiv:2109.04176."""
        if self.patch_out == 1:
            return torch.ones_like(x[:, :1])
        side = patch_side(adversary.source) or 1
        rows, columns = -(-x.shape[2] // side), -(-x.shape[3] // side)
        count = max(1, round(self.patch_out * rows * columns))
        rank = slope.draws.uniform((rows * columns,), "patches", step).argsort(dim=1, stable=True).argsort(dim=1)
        chosen = (rank < count).to(x).view(-1, 1, rows, columns)
        whole = chosen.repeat_interleave(side, 2).repeat_interleave(side, 3)
        mask: Tensor = whole[:, :, : x.shape[2], : x.shape[3]]
        return mask


def _outward(delta: Tensor) -> Tensor:
    """Gradient of each perturbation's length: ``delta`` over its l2 norm, 0 at 0."""
    return steepest(delta, Norm.L2)


def _padded(batch: Batch) -> Batch:
    """The batch padded with its first image to a multiple of the floor, from which kernels round identically."""
    rows = -(-len(batch) // FLOOR) * FLOOR
    ids = batch.ids + batch.ids[:1] * (rows - len(batch))
    return Batch(ids, pad(batch.images, rows), pad(batch.labels, rows))

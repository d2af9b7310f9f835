"""Linear models, whose minimal norms are known in closed form."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn

from bench.attacks.autoattack.conduct import Conduct
from bench.attacks.autoattack.geometry import length
from bench.attacks.autoattack.hyperplane import to_plane
from bench.attacks.autoattack.sequence import run_sequence
from bench.attacks.autoattack.types import Finished
from bench.attacks.autoattack.versions import SEQUENCES, Lengths, build
from bench.core.budget import Budget, Norm
from bench.core.nouns import Batch
from tests.oracle.autoattack import zoo


class Linear(nn.Module):
    """Five classes; grey images lie far enough inside the box for the closed form to hold."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.weight = nn.Parameter(torch.randn(5, 3 * 8 * 8, generator=generator) * 0.1)

    def forward(self, x: Tensor) -> Tensor:
        return (x - 0.5).flatten(1) @ self.weight.T

    def minimal(self, x: Tensor, norm: Norm) -> Tensor:
        """Distance (B,) to the nearest boundary."""
        logits = self(x).detach()
        own = logits.argmax(1)
        gap = logits.gather(1, own[:, None]) - logits
        normal = self.weight.detach()[own][:, None] - self.weight.detach()[None]
        dual = normal.abs().sum(2) if norm is Norm.LINF else normal.norm(dim=2)
        return (gap / dual.clamp(min=1e-12)).scatter(1, own[:, None], torch.inf).amin(1)


def grey(count: int) -> tuple[Linear, Batch]:
    model = Linear()
    x = 0.5 + 0.05 * torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(4))
    return model, Batch(tuple(map(str, range(count))), x, model(x).argmax(1))


def outcomes(model: nn.Module, images: Batch, budget: Budget, names: list[str], keep: str = "first") -> list[Finished]:
    results: list[Finished] = []
    effort = Lengths(iterations=40, queries=200)
    attacks = build(names, budget, effort)
    run_sequence(attacks, model, [images], zoo.seed, Conduct(16, keep=keep), results.append)  # type: ignore[arg-type]
    return sorted(results, key=lambda result: result.guest.position)


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
def test_below_the_minimal_norm_every_image_is_robust_and_above_it_none(norm: Norm) -> None:
    model, images = grey(8)
    least = model.minimal(images.images, norm)
    for row in range(8):
        one = images.take([row])
        below, above = (Fraction(float(least[row]) * factor).limit_denominator(10**6) for factor in (0.98, 1.05))
        assert not outcomes(model, one, Budget(norm, below), list(SEQUENCES["standard"]))[0].fooled
        assert outcomes(model, one, Budget(norm, above), ["apgd-t"])[0].fooled
        assert outcomes(model, one, Budget(norm, above), ["fab-t"])[0].fooled


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
@pytest.mark.parametrize("name", ["fab", "fab-t"])
def test_fab_finds_the_minimal_norm(norm: Norm, name: str) -> None:
    model, images = grey(8)
    results = outcomes(model, images, Budget(norm, Fraction(100)), [name], keep="last")
    found = torch.stack([result.candidate for result in results if result.candidate is not None])
    ratio = length(found - images.images, norm) / model.minimal(images.images, norm)
    assert bool((ratio >= 0.999).all())
    # FAB-T stops at the first target within the radius, here far away; at 1.05 times the minimal norm it has to find it
    # (test above).
    assert bool((ratio <= (1.25 if name == "fab" else 3.0)).all())


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
def test_projection_reaches_the_plane_by_the_shortest_move(norm: Norm) -> None:
    generator = torch.Generator().manual_seed(0)
    points, weights = torch.rand(64, 40, generator=generator), torch.randn(64, 40, generator=generator)
    weights[:, :3] = 0
    reach = torch.where(weights > 0, points, 1 - points).mul(weights.abs()).sum(1)
    gap = reach * torch.linspace(0.01, 0.95, 64)
    move = to_plane(points, weights, gap, norm)
    landed = points + move
    assert float(landed.min()) >= -1e-6
    assert float(landed.max()) <= 1 + 1e-6
    assert torch.allclose((weights * move).sum(1), -gap, atol=1e-4)
    # Optimality: pixels that are not stopped by the box share one multiplier.
    free = (landed > 1e-5) & (landed < 1 - 1e-5) & (weights != 0)
    share = move.abs() if norm is Norm.LINF else move.abs() / weights.abs().clamp(min=1e-9)
    top, low = share.masked_fill(~free, 0).amax(1), share.masked_fill(~free, torch.inf).amin(1)
    some = free.any(1)
    assert torch.allclose(top[some], low[some], rtol=1e-3, atol=1e-5)
    beyond = to_plane(points, weights, reach * 2, norm)
    corner = torch.where(weights > 0, -points, 1 - points) * (weights != 0)
    assert torch.allclose(beyond, corner)


def test_projection_of_a_row_does_not_depend_on_the_others() -> None:
    generator = torch.Generator().manual_seed(1)
    points, weights = torch.rand(64, 200, generator=generator), torch.randn(64, 200, generator=generator)
    gap = torch.randn(64, generator=generator) * 5
    together = to_plane(points, weights, gap, Norm.L2)
    apart = torch.cat([to_plane(*(t[i : i + 8] for t in (points, weights, gap)), Norm.L2) for i in range(0, 64, 8)])
    assert torch.equal(together, apart)

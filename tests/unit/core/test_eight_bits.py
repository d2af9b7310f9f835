"""Rounded images are 8-bit images, and never leave the ball."""

import pytest
import torch

from bench.core.ball import allowance, distance, project
from bench.core.budget import Budget
from bench.core.eight_bits import eight_bits

SHAPE = (3, 16, 16)


def pair(budget: Budget, grid: int | None, seed: int = 0, n: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Clean images with 1/grid steps, and others on the edge of the ball or inside it; the first did not move."""
    stream = torch.Generator().manual_seed(seed)
    clean = torch.rand(n, *SHAPE, generator=stream)
    clean = (clean * grid).round() / grid if grid else clean
    clean[-1] = 0.0
    size = budget.radius * torch.rand(n, 1, 1, 1, generator=stream) * 3
    moved = project(clean + size * torch.randn(clean.shape, generator=stream), clean, budget)
    moved[0] = clean[0]
    return clean, moved


def off_grid(images: torch.Tensor) -> torch.Tensor:
    levels = images.double() * 255
    return (levels - levels.round()).abs() > 1e-4


@pytest.mark.parametrize("grid", [255, 16, None])
@pytest.mark.parametrize(
    "text", ["linf:4/255", "linf:1/255", "linf:1/1000", "linf:0.7", "l2:0.5", "l2:0.01", "l2:0.05", "l1:12", "l1:0.1"]
)
def test_no_image_leaves_the_ball_or_the_box(text, grid):
    budget = Budget.parse(text)
    for seed in range(3):
        clean, moved = pair(budget, grid, seed)
        out = eight_bits(moved, clean, budget)
        assert (distance(out, clean, budget.norm) <= budget.radius + allowance(budget, out[0].numel())).all()
        assert out.min() >= 0
        assert out.max() <= 1
        assert out.dtype is torch.float32
        stays = off_grid(out)
        assert torch.equal(out[stays], clean[stays])  # what is no level is the clean value
        if grid == 255:
            assert not stays.any()


@pytest.mark.parametrize("text", ["linf:8/255", "l2:0.5", "l1:12"])
def test_images_of_8_bits_stay_what_they_are(text):
    budget = Budget.parse(text)
    clean, moved = pair(budget, 255)
    once = eight_bits(moved, clean, budget)
    assert torch.equal(eight_bits(once, clean, budget), once)
    assert (eight_bits(clean, clean, budget) - clean).abs().max() <= 2**-24


def test_l_inf_takes_the_nearest_level_inside():
    budget = Budget.parse("linf:2/255")
    clean = torch.tensor([100.0, 100.0, 100.0, 100.4, 100.4, 0.0]).view(1, 1, 2, 3) / 255
    moved = torch.tensor([101.6, 101.4, 98.0, 102.4, 98.4, 0.7]).view(1, 1, 2, 3) / 255
    levels = eight_bits(moved, clean, budget).double() * 255
    assert levels.flatten().tolist() == pytest.approx([102, 101, 98, 102, 99, 1], abs=1e-4)


def test_a_ball_without_a_level_keeps_the_clean_value():
    budget = Budget.parse("linf:1/1000")
    clean = torch.tensor([100.5, 100.1]).view(1, 1, 1, 2) / 255
    out = eight_bits(clean + 1 / 1000, clean, budget)
    assert out[0, 0, 0, 0] == clean[0, 0, 0, 0]
    assert out[0, 0, 0, 1].double() * 255 == pytest.approx(100, abs=1e-4)


def test_l2_rounds_to_the_nearest_where_that_fits_and_else_what_is_nearest_first():
    clean = torch.full((1, 1, 1, 4), 100.0) / 255
    moved = torch.tensor([101.9, 100.6, 100.55, 100.4]).view(1, 1, 1, 4) / 255
    wide, tight = Budget.parse("l2:1/10"), Budget.parse("l2:9/1000")  # 25.5 and 2.295 levels
    assert (eight_bits(moved, clean, wide) * 255).round().flatten().tolist() == [102, 101, 101, 100]
    # sqrt(4 + 1) fits in 2.295 levels, sqrt(4 + 1 + 1) does not: the fourth has nothing to gain, the second goes first
    assert (eight_bits(moved, clean, tight) * 255).round().flatten().tolist() == [102, 101, 100, 100]


def test_a_small_l2_perturbation_of_a_large_image_is_lost():
    """l2 0.5 on 224 x 224 is 0.33 grey levels a value, less than the half that rounding needs."""
    budget, shape = Budget.parse("l2:0.5"), (1, 3, 224, 224)
    levels = 255 * 0.5 / (3 * 224 * 224) ** 0.5
    assert levels == pytest.approx(0.33, abs=0.005)
    clean = torch.full(shape, 100 / 255)
    moved = clean + 0.5 / (3 * 224 * 224) ** 0.5
    assert torch.equal((eight_bits(moved, clean, budget) * 255).round(), torch.full(shape, 100.0))

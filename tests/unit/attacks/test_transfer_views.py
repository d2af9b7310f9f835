"""Random numbers, and what is done to copies of images."""

import math

import pytest
import torch
from torch.nn import functional as F

from bench.attacks.transfer.draws import Draws
from bench.attacks.transfer.gradient import gaussian, inside, smoothed
from bench.attacks.transfer.tokens import damped_attention, damped_tokens
from bench.attacks.transfer.views import drawn_blocks, drawn_diversity, resized, sampled, shifted

CPU = torch.device("cpu")
KNOWN = [0.26364701986312866, 0.19428443908691406, 0.9315369725227356]


def draws(ids=("a", "b", "c"), seed=0, name="t"):
    return Draws(seed, ids, name, CPU)


def test_numbers_belong_to_image_seed_name_and_purpose():
    first = draws().uniform((3, 5), "noise", 1)
    assert torch.equal(first[[2, 0]], draws(("c", "a")).uniform((3, 5), "noise", 1))
    for other in (draws(seed=1), draws(name="u"), draws(("d", "e", "f"))):
        assert not torch.isin(first, other.uniform((3, 5), "noise", 1)).any()
    assert not torch.isin(first, draws().uniform((3, 5), "noise", 2)).any()
    assert len(first.unique()) == first.numel()


def test_numbers_are_uniform_and_normal():
    from scipy import stats

    source = draws(tuple(f"i{i}" for i in range(50)))
    assert stats.kstest(source.uniform((1001,), "u").flatten().numpy(), "uniform").pvalue > 1e-3
    normal = source.normal((1001,), "n")
    assert stats.kstest(normal.flatten().numpy(), "norm").pvalue > 1e-3
    assert normal.isfinite().all()
    correlation = torch.corrcoef(normal) - torch.eye(50)
    assert correlation.abs().max() < 5 / math.sqrt(1001)


def test_numbers_do_not_change_with_a_release():
    """Records made earlier must be repeatable: known answers."""
    assert draws(("a",)).uniform((3,), "x")[0].tolist() == pytest.approx(KNOWN, abs=1e-9)


def test_a_shift_is_each_images_own_and_enters_black():
    x = torch.rand(3, 2, 6, 5)
    y = shifted(x, torch.tensor([[0, 0], [2, -1], [-3, 4]]))
    assert torch.equal(y[0], x[0])
    assert torch.equal(y[1, :, 2:, :-1], x[1, :, :-2, 1:])
    assert torch.equal(y[2, :, :3, 4:], x[2, :, 3:, :1])
    assert y[1].count_nonzero() == y[1, :, 2:, :-1].count_nonzero()


def test_resizing_and_padding_is_what_interpolation_gives():
    """Against torch's own resizing of the padded canvas, of an image smooth enough for either order."""
    i = torch.arange(64.0)
    x = (torch.sin(i / 11)[:, None] * torch.cos(i / 9)[None] * 0.5 + 0.5)[None, None]
    y = resized(x, torch.tensor([[66, 66]]), torch.tensor([[1, 3]]), (70, 70))
    canvas = F.pad(F.interpolate(x, size=(66, 66), mode="bilinear"), (3, 1, 1, 3))
    expected = F.interpolate(canvas, size=(64, 64), mode="bilinear")
    assert (y - expected)[..., 4:-4, 5:-4].abs().max() < 5e-3
    assert y[..., 0, :].max() < y[..., 5, :].max()


def test_diversity_leaves_the_share_alone_that_it_should():
    x = torch.rand(400, 1, 16, 16)
    source = draws(tuple(f"i{i}" for i in range(400)))
    same = (drawn_diversity(x, 0.5, 1.5, source, 0) == x).flatten(1).all(1).float().mean()
    assert 0.4 < same < 0.6
    assert torch.equal(drawn_diversity(x, 0.0, 1.5, source, 0), x)


def test_diversity_moves_both_axes_of_images_that_are_not_square():
    x = torch.rand(200, 1, 10, 20) * 0.5 + 0.5
    y = drawn_diversity(x, 1.0, 1.5, draws(tuple(f"i{i}" for i in range(200))), 0)
    inside = (y > 0.25).float()
    assert y.shape == x.shape
    # an axis keeps between 2/3 and all of its length, for the canvas is 1.5 times as long
    for axis, size in ((2, 10), (3, 20)):
        kept = inside.amax(5 - axis).sum(-1).flatten() / size
        assert 0.6 <= kept.min() < 0.75
        assert 0.9 <= kept.max() <= 1


@pytest.mark.parametrize("shape", [(24, 24), (24, 18)])
def test_blocks_without_rotation_are_a_rearrangement(shape):
    x = torch.rand(20, 1, *shape)
    y = drawn_blocks(x, 3, 0.0, draws(tuple(f"i{i}" for i in range(20))), 0)
    assert torch.allclose(y.flatten(1).sort(1).values, x.flatten(1).sort(1).values, atol=1e-5)
    assert ((y - x).abs() > 1e-3).flatten(1).any(1).float().mean() > 0.9


def test_rotated_blocks_keep_most_of_the_image_and_differ():
    x = torch.ones(20, 1, 24, 24)
    source = draws(tuple(f"i{i}" for i in range(20)))
    y = drawn_blocks(x, 3, 24.0, source, 0)
    assert 0.6 < y.mean() < 1
    assert not torch.equal(y, drawn_blocks(x, 3, 24.0, source, 1))
    assert torch.allclose(drawn_blocks(x, 3, 0.0, source, 0), x)


def test_sampling_at_the_pixels_gives_the_pixels():
    x = torch.rand(2, 3, 5, 7)
    rows, columns = torch.meshgrid(torch.arange(5), torch.arange(7), indexing="ij")
    y = sampled(x, rows.expand(2, -1, -1), columns.expand(2, -1, -1))
    assert torch.allclose(y, x, atol=1e-5)


def test_the_kernel_is_the_published_one():
    """Fifteen pixels that span three standard deviations on either side."""
    from scipy.stats import norm

    line = norm.pdf([-3 + 6 * i / 14 for i in range(15)])
    expected = torch.tensor(line)[:, None] * torch.tensor(line)[None]
    assert torch.allclose(gaussian(15, 14 / 6), (expected / expected.sum()).float(), atol=1e-7)
    flat = smoothed(torch.ones(1, 3, 40, 40), gaussian(15, 14 / 6))
    assert torch.allclose(flat[..., 10:-10, 10:-10], torch.ones(1), atol=1e-5)


def test_clipping_lets_the_gradient_through():
    x = torch.tensor([-0.5, 0.5, 1.5], requires_grad=True)
    y = inside(x)
    assert y.tolist() == pytest.approx([0, 0.5, 1])
    assert torch.autograd.grad(y.sum(), x)[0].tolist() == [1, 1, 1]


def test_extreme_tokens_are_removed_and_the_rest_is_scaled():
    g = torch.tensor([[1.0, -4.0], [5.0, 2.0], [-3.0, 3.0], [0.5, 0.25]])[None]  # 4 tokens, 2 channels
    expected = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0], [0.5, 0.25]])[None] * 0.75
    assert torch.equal(damped_tokens(g, 0.75), expected)
    maps = torch.zeros(1, 1, 4, 4)
    maps += torch.arange(16.0).view(4, 4) / 100
    maps[0, 0, 1, 2], maps[0, 0, 3, 0] = 9.0, -9.0
    kept = damped_attention(maps)[0, 0]
    assert kept[[1, 3]].abs().sum() == kept[:, [2, 0]].abs().sum() == 0
    assert torch.equal(kept[[0, 0, 2, 2], [1, 3, 1, 3]], maps[0, 0, [0, 0, 2, 2], [1, 3, 1, 3]] * 0.25)

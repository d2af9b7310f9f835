"""Contract of every registered key transform, and what is particular to two."""

import pytest
import torch
from torch import nn

from bench.core.errors import InputError
from bench.core.key import Key
from bench.core.registry import registry

KEY, OTHER = Key.from_seed(1, "test"), Key.from_seed(2, "test")
SHAPE = (3, 32, 32)
NAMES = registry("transforms").names()
SMOOTH = [
    name
    for name in NAMES
    if not hasattr(registry("transforms").make(name).bind(KEY, block_size=4, image_shape=SHAPE), "bpda")
]  # the others say what stands for them in the backward pass
BLOCKS = (2, 4, 8, 16)


def bind(name: str, key: Key = KEY, block: int = 4) -> nn.Module:
    return registry("transforms").make(name).bind(key, block_size=block, image_shape=SHAPE)


def images(n: int = 3) -> torch.Tensor:
    """Of 8 bits: where an inverse exists for nothing else, it exists for these."""
    return (torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(5)) * 255).round() / 255


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("name", NAMES)
def test_shape_box_inverse_and_input_are_kept(name, block):
    t, x = bind(name, block=block), images()
    before = x.clone()
    y = t(x)
    assert y.shape == x.shape
    assert y.dtype == x.dtype
    assert ((y >= 0) & (y <= 1)).all()
    assert not torch.equal(y, x)
    torch.testing.assert_close(t.inverse(y), x, rtol=0, atol=2**-24)
    assert torch.equal(x, before)


@pytest.mark.parametrize("name", NAMES)
def test_the_key_alone_decides(name):
    x = images()
    assert torch.equal(bind(name)(x), bind(name)(x))
    assert not torch.equal(bind(name)(x), bind(name, OTHER)(x))


@pytest.mark.parametrize("name", NAMES)
def test_each_image_is_transformed_on_its_own(name):
    t, x = bind(name), images()
    assert torch.equal(t(x)[1:2], t(x[1:2]))


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_flow(name):
    t, x = bind(name), images()
    z = x.double().requires_grad_()
    (gradient,) = torch.autograd.grad(t(z).pow(2).sum(), z)
    probe, direction, h = z.detach(), torch.randn(z.shape, dtype=torch.float64), 1e-6
    slope = (t(probe + h * direction).pow(2).sum() - t(probe - h * direction).pow(2).sum()) / (2 * h)
    torch.testing.assert_close((gradient * direction).sum(), slope, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_no_key_tensor_is_ever_saved(name):
    assert bind(name).state_dict() == {}


@pytest.mark.parametrize("name", NAMES)
def test_a_block_that_does_not_divide_the_image_is_refused(name):
    with pytest.raises(
        InputError, match=r"P = 5 does not divide the 32 x 32 image; expected one of 1, 2, 4, 8, 16, 32"
    ):
        bind(name, block=5)


def test_shuffling_is_the_papers_formula():
    """b'(k) = b(v_k), a block flattened by row, column, channel; written out by hand here."""
    x = images(1)
    v = KEY.permutation("pixel-shuffle/P=4", 48)
    y = bind("pixel-shuffle")(x)
    for top, left in ((0, 0), (8, 20), (28, 28)):
        block = [x[0, c, top + i, left + j] for i in range(4) for j in range(4) for c in range(3)]
        got = [y[0, c, top + i, left + j] for i in range(4) for j in range(4) for c in range(3)]
        assert got == [block[k] for k in v]
    assert torch.equal(bind("pixel-shuffle").inverse(y), x)


def test_negative_positive_turns_the_official_half():
    x = images(1)
    changed = (bind("negative-positive")(x) != x)[0, :, :4, :4]
    v = KEY.permutation("negative-positive/P=4", 48)
    mask = torch.tensor([k > 24 for k in v]).view(4, 4, 3).permute(2, 0, 1)
    assert torch.equal(changed, mask)

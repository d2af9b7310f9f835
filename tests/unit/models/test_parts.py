"""A first layer with permuted inputs is one behind a key of the block shuffle, drawn by the adversary."""

import copy

import pytest
import timm
import torch

from bench.core.blocks import Shuffle, to_blocks
from bench.core.errors import NotApplicableError
from bench.models.parts import first_convolution, permute_inputs


def vit():
    return timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=8, depth=1, num_classes=10).double().eval()


def permuted(network, block, seed):
    other = copy.deepcopy(network)
    permute_inputs(other, block, seed)
    return other


@pytest.mark.parametrize("block", [2, 4, 8])
def test_it_answers_as_the_start_does_behind_a_block_shuffle(block):
    start = vit()
    other = permuted(start, block, 3)
    before, after = (to_blocks(first_convolution(n).weight.detach()[:1], block)[0] for n in (start, other))
    order = [(before[0, 0] == value).nonzero().item() for value in after[0, 0]]
    assert sorted(order) == list(range(3 * block**2))
    assert torch.equal(after, before[..., order])  # one permutation in all blocks of the kernel
    images = torch.rand(4, 3, 32, 32, dtype=torch.float64)
    shuffle = Shuffle(block, torch.tensor(order).argsort().tolist())
    assert torch.allclose(other(images), start(shuffle(images)), atol=1e-12)


def test_every_draw_is_another_permutation():
    start = vit()
    weights = [first_convolution(permuted(start, 4, seed)).weight for seed in (0, 0, 1)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize(("network", "block"), [("vit", 3), ("vit", 16), ("resnet18", 2)])
def test_a_layer_that_does_not_see_whole_blocks_is_refused(network, block):
    made = vit() if network == "vit" else timm.create_model(network, num_classes=10)
    with pytest.raises(NotApplicableError, match="does not see whole blocks of P = "):
        permute_inputs(made, block, 0)

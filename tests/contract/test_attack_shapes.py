"""Every registered attack on images of odd shapes: candidates within the budget, or a refusal in one line."""

import pytest
import torch
from torch import nn

from bench.core.ball import allowance, distance
from bench.core.budget import Budget, Norm
from bench.core.errors import InputError
from bench.core.nouns import Adversary, Batch
from bench.core.registry import registry

SHAPES = [(3, 20, 28), (3, 28, 5), (3, 4, 4), (1, 9, 7), (3, 2, 2)]
SHORT = {"steps": 3, "iterations": 3, "queries": 30, "samples": 1, "targets": 1}
NAMES = [name for name in registry("attacks").names() if name != "autoattack-reference"]


class Brightness(nn.Module):
    """Four classes: which quarter of the image is the brightest."""

    def forward(self, x):
        halves = [half for rows in x.tensor_split(2, 2) for half in rows.tensor_split(2, 3)]
        return 20 * torch.stack([half.mean((1, 2, 3)) for half in halves], 1)


def made(name):
    kind = registry("attacks").load(name)
    return registry("attacks").make(name, {k: v for k, v in SHORT.items() if k in kind.model_fields})


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_an_attack_takes_images_that_are_not_square_and_tiny_ones(name, shape):
    attack = made(name)
    images = torch.rand(3, *shape, generator=torch.Generator().manual_seed(1)) * 0.8 + 0.1
    model = Brightness().eval()
    batch = Batch(("a", "b", "c"), images, model(images).argmax(1))
    for norm in sorted(attack.norms):
        budget = Budget(norm, Budget.parse("linf:1/5").eps)
        try:
            out = attack.perturb(Adversary(model, budget, 0), Batch(batch.ids, images.clone(), batch.labels))
        except InputError:  # in one line, before anything is attacked
            continue
        assert out.shape == images.shape
        assert out.isfinite().all()
        assert 0 <= out.min() <= out.max() <= 1
        assert (distance(out, images, norm) <= budget.radius + allowance(budget, images[0].numel())).all()
        assert norm is not Norm.LINF or (out != images).any()

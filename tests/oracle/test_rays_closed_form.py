"""RayS on a linear model, where the nearest misclassified point under l-inf is known.

Without the box its distance is |w.x + b| / ||w||_1. In the box the best direction is still the sign of w, and the
distance is where the height along it, pixels stopping at 0 and 1, comes to nothing.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.core.ball import distance
from bench.core.budget import Budget, Norm
from bench.core.nouns import Adversary, Batch
from bench.core.registry import registry

COUNT, SHAPE = 4, (3, 8, 8)
TOLERANCE = 1e-3 / 192**0.5  # where RayS ends a bisection; flips that gain less are not taken


class Labels:
    """A hyperplane; answers with one-hot rows and counts queries."""

    def __init__(self, seed: int) -> None:
        w = torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))
        self.w, self.rows = w / w.abs().sum(), 0

    def height(self, x: Tensor) -> Tensor:
        return ((x - 0.5) * self.w).flatten(1).sum(1)

    def __call__(self, x: Tensor) -> Tensor:
        self.rows += len(x)
        return F.one_hot((self.height(x) > 0).long(), 2).float()


def images(model: Labels, *, box: bool) -> Batch:
    """Images of both classes: grey and about 0.03 away from the other class, or with most pixels at 0 or 1."""
    g = torch.Generator().manual_seed(7)
    side = torch.tensor([1.0, -1.0]).repeat(COUNT // 2).view(-1, 1, 1, 1)
    x = 0.5 + 0.05 * torch.randn(COUNT, *SHAPE, generator=g) + 0.03 * side * model.w.sign()
    if box:
        x = torch.where(torch.rand(x.shape, generator=g) < 0.7, (torch.rand(x.shape, generator=g) > 0.5).float(), x)
    x = x.clamp(0, 1)
    return Batch(tuple(f"i{i}" for i in range(COUNT)), x, (model.height(x) > 0).long())


def nearest(model: Labels, batch: Batch) -> Tensor:
    """The true distance of each image to the other class, by bisection along the sign of w."""
    to = torch.where(batch.labels == 1, -1.0, 1.0).view(-1, 1, 1, 1) * model.w.sign()
    low, high = torch.zeros(COUNT), torch.ones(COUNT)
    for _ in range(40):
        middle = (low + high) / 2
        crossed = (model.height((batch.images + middle.view(-1, 1, 1, 1) * to).clamp(0, 1)) > 0).long() != batch.labels
        low, high = torch.where(crossed, low, middle), torch.where(crossed, middle, high)
    return high


def attacked(model: Labels, image: Batch, eps: float, queries: int = 2500) -> tuple[bool, float]:
    """Whether the image is fooled within ``eps``, and how far the candidate is."""
    budget = Budget.parse(f"linf:{eps}")
    out = registry("attacks").make("rays", {"queries": queries}).perturb(Adversary(model, budget, 0), image)
    return bool(model(out).argmax(1) != image.labels), float(distance(out, image.images, Norm.LINF))


@pytest.mark.parametrize("box", [False, True], ids=["grey", "at the edge of the box"])
def test_it_comes_to_the_closed_form_and_never_below(box):
    """Two percent and a few tolerances above it all are fooled; one percent below none can be."""
    model = Labels(1)
    batch = images(model, box=box)
    exact = nearest(model, batch)
    assert exact.min() > 50 * TOLERANCE
    assert 0 < batch.labels.sum() < COUNT
    if not box:  # the bisection agrees with the formula
        torch.testing.assert_close(exact, model.height(batch.images).abs(), rtol=1e-3, atol=1e-6)
    for i, true in enumerate(exact.tolist()):
        above = 1.02 * true + 4 * TOLERANCE
        fooled, far = attacked(model, batch.take([i]), above)
        assert fooled
        assert 0.999 * true <= far <= above + 1e-6
        assert not attacked(model, batch.take([i]), 0.99 * true)[0]


def test_few_queries_do_not_suffice_so_the_search_is_what_finds_it():
    model = Labels(1)
    batch = images(model, box=False)
    exact = nearest(model, batch).tolist()
    assert not any(attacked(model, batch.take([i]), 1.02 * true, 100)[0] for i, true in enumerate(exact))

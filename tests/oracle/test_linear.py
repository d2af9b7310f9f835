"""Attacks against a linear model, where the smallest fooling distance is known in closed form.

For logits (0, w.x + b) the l_p distance of x to the boundary is |w.x + b| / ||w||_q with 1/p + 1/q = 1.
"""

import pytest
import torch

from bench.core.ball import allowance, distance
from bench.core.budget import Budget, Norm
from bench.core.nouns import Adversary, Batch, Outcome
from bench.core.registry import registry
from bench.engine.judge import judge

DUAL = {Norm.LINF: 1, Norm.L2: 2, Norm.L1: torch.inf}
MARGIN = {Norm.LINF: 0.02, Norm.L2: 0.2, Norm.L1: 0.3}  # l1: all of it on one pixel, so within the box
APGD = {"version": "custom", "attacks": ["apgd-ce"]}
# Smoothing and shuffled blocks are for models that see alike wherever a thing lies; this one has random weights.
OPTIONS = {"autoattack": APGD, "autoattack-reference": APGD, "transfer": {"translation": 0}, "ti": {"translation": 3},
           "bsr": {"blocks": 1}, "vmi": {"neighbours": 2}, "vni": {"neighbours": 2}, "pgn": {"flat": 2}}  # fmt: skip
SHORT = {
    "pgd": {"steps": 1},
    "autoattack": APGD,
    "rays": {"queries": 100},
    "square": {"queries": 100},
}  # further on all starts lead to the same corner
# Random search does not come near the corner of a hyperplane of white noise: the official Square with 5,000 queries
# fools 1 (linf) and 0 (l2) of these 16 images at 1.25 times the closed form.
ABOVE = {("square", Norm.LINF): 1.5, ("square", Norm.L2): 3.0}
FOR_VIT = {"pna", "tgr"}  # they refuse a source without transformer blocks: tests/unit/attacks
NAMES = [name for name in registry("attacks").names() if name not in FOR_VIT]
# From the clean image all lead to one corner, whatever is drawn.
ONE_CORNER = {"transfer", "mi", "ni", "ti", "si", "di", "vmi", "vni", "pgn", "bsr"}


class Linear:
    """Two classes, one hyperplane through the middle of the box; logits (B, 3), the third never wins."""

    def __init__(self, norm: Norm) -> None:
        g = torch.Generator().manual_seed(3)
        w = torch.randn(3, 8, 8, generator=g)
        if norm is Norm.L1:
            w[torch.rand(w.shape, generator=g) < 0.9] = 0
        self.w = w / torch.linalg.vector_norm(w.flatten(), DUAL[norm])

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        height = ((x - 0.5) * self.w).flatten(1).sum(1)
        return torch.stack([-10 * height, 10 * height, torch.full_like(height, -100.0)], 1)


def batch_at(model: Linear, norm: Norm, n: int = 16) -> Batch:
    """Images exactly MARGIN away from the boundary, all of class 0."""
    x = 0.5 + 0.02 * torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(4))
    height = ((x - 0.5) * model.w).flatten(1).sum(1)
    unit = model.w / model.w.square().sum()
    x = x - (height + MARGIN[norm]).view(-1, 1, 1, 1) * unit
    assert ((x > 0.05) & (x < 0.95)).all()
    return Batch(tuple(f"i{i}" for i in range(n)), x, torch.zeros(n, dtype=torch.int64))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("name", NAMES)
def test_above_the_closed_form_all_are_fooled_and_below_none(name, norm):
    attack = registry("attacks").make(name, OPTIONS.get(name))
    if norm not in attack.norms:
        pytest.skip("norm not offered")
    model = Linear(norm)
    batch = batch_at(model, norm)
    for factor, outcome in ((0.97, Outcome.ROBUST), (ABOVE.get((name, norm), 1.25), Outcome.FOOLED)):
        budget = Budget.parse(f"{norm}:{MARGIN[norm] * factor}")
        candidates = attack.perturb(Adversary(model, budget, 0), batch)
        assert (distance(candidates, batch.images, norm) <= budget.radius + allowance(budget, 192)).all()
        assert {v.outcome for v in judge(model, batch, candidates, budget)} == {outcome}


@pytest.mark.parametrize("norm", list(Norm))
def test_pgd_is_at_the_closed_form_to_two_percent(norm):
    model = Linear(norm)
    batch = batch_at(model, norm)
    budget = Budget.parse(f"{norm}:{MARGIN[norm] * 1.02}")
    candidates = registry("attacks").make("pgd").perturb(Adversary(model, budget, 0), batch)
    assert {v.outcome for v in judge(model, batch, candidates, budget)} == {Outcome.FOOLED}


@pytest.mark.parametrize("name", [n for n in NAMES if registry("attacks").load(n).per_image])
def test_an_attack_that_says_per_image_keeps_its_word(name):
    model = Linear(Norm.LINF)
    batch = batch_at(model, Norm.LINF)
    adversary = Adversary(model, Budget.parse("linf:0.02"), 7)
    attack = registry("attacks").make(name, SHORT.get(name))
    whole = attack.perturb(adversary, batch)
    order = [5, 3, 11]
    assert torch.equal(whole[order], attack.perturb(adversary, batch.take(order)))
    other = attack.perturb(Adversary(model, adversary.budget, 8), batch)
    assert name in ONE_CORNER or not torch.equal(whole, other)

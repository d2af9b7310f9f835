"""Contract of every registered attack: the shape of its candidates, its input as it was, the ball and the box."""

import warnings
from fractions import Fraction

import pytest
import torch

from bench.core.budget import Budget, Norm
from bench.core.errors import InputError
from bench.core.nouns import Adversary, Batch
from bench.core.registry import registry

SHORT = {"steps": 3, "iterations": 3, "queries": 30, "samples": 2, "neighbours": 1, "flat": 2, "scales": 2}
RADIUS = {Norm.LINF: "0.05", Norm.L2: "0.5", Norm.L1: "5"}
ATTACKS = registry("attacks").names()


@pytest.fixture(scope="module")
def source():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 10))
    return model.eval().requires_grad_(False)


def made(name: str):
    kind = registry("attacks").load(name)
    return registry("attacks").make(name, {k: v for k, v in SHORT.items() if k in kind.model_fields})


def length(moved: torch.Tensor, norm: Norm) -> torch.Tensor:
    flat = moved.flatten(1).double()
    return flat.norm(p={Norm.LINF: float("inf"), Norm.L2: 2, Norm.L1: 1}[norm], dim=1)


@pytest.mark.parametrize("name", ATTACKS)
def test_candidates_keep_shape_ball_and_box_and_leave_the_images_alone(name, source):
    attack = made(name)
    try:
        attack.check(source)
    except InputError:  # an attack on vision transformers says so before it runs
        return
    images = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    images[0] = images[0].round()  # at the ends of the box
    batch = Batch(("a", "b", "c"), images.clone(), source(images).argmax(1))
    for norm in sorted(attack.norms):
        budget = Budget(norm, Fraction(RADIUS[norm]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it has to say is for the record
            moved = attack.perturb(Adversary(source, budget, seed=3), batch)
        assert torch.equal(batch.images, images), "the attack changed its input"
        assert (moved.shape, moved.dtype) == (images.shape, images.dtype)
        assert moved.min() >= 0
        assert moved.max() <= 1
        assert bool((length(moved - images, norm) <= budget.radius * (1 + 1e-5)).all())


@pytest.mark.parametrize("name", ATTACKS)
def test_the_calls_that_an_attack_foresees_are_ordered(name):
    attack = made(name)
    for norm in sorted(attack.norms):
        calls = attack.calls(10, Budget(norm, Fraction(RADIUS[norm])))
        assert calls is None or 0 < calls.least.forwards <= calls.most.forwards

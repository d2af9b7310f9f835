"""Adversarial training: what it leaves, what decides it, and that it leaves other trainings alone."""

import csv
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bench.core.budget import Budget, Norm
from bench.core.errors import InputError
from bench.engine.making import Making
from bench.engine.means import Means
from bench.engine.request import Request
from bench.engine.resolve import resolve
from bench.engine.world import World
from bench.store.home import Home
from bench.store.keyring import Keyring
from bench.store.runs import RunStore
from bench.training.fit import fit
from bench.training.harden import Hardening

# A small convolutional base, hardly trained: what is asked here is not how good it is.
SMALL = {
    "profile.base.architecture": "convnext_atto",
    "profile.base.arguments": {
        "depths": [1, 1, 1, 1],
        "dims": [16, 16, 32, 32],
        "patch_size": 4,
        "ls_init_value": None,
    },
    "profile.base.recipe.steps": 5,
    "profile.recipes.adversarial.steps": 3,
    "defense.steps": 2,
}


def world(home: Path, settings=None, *, micro_batch: int | None = None, seed: int = 0) -> World:
    job = resolve(Request("adversarial", "white-box", seed=seed, settings={**SMALL, **(settings or {})}), Keyring(home))
    means = Means(RunStore(home / "results"), Home(home))
    made = Making(job.spec, replace(means, training=replace(means.training, micro_batch=micro_batch)))
    return World(made, job.key)


def weights(made: World) -> dict[str, torch.Tensor]:
    assert made.target.folder is not None
    return load_file(made.target.folder / "model.safetensors")


@pytest.mark.parametrize("norm", Norm)
def test_the_adversary_stays_in_its_ball_and_raises_the_loss(norm):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 4)).eval()
    images, labels = torch.rand(8, 3, 4, 4), torch.arange(8) % 4
    budget = Budget(norm, Fraction(1, 4))
    hardening = Hardening(budget, steps=5, relative_step=0.5)
    start = hardening.draw(8, (3, 4, 4), torch.Generator().manual_seed(0))
    moved = hardening.move(model, images, labels, start)
    loss = torch.nn.functional.cross_entropy
    assert loss(model(moved), labels) > loss(model(images), labels)
    size = torch.linalg.vector_norm((moved - images).flatten(1), {"linf": torch.inf, "l2": 2, "l1": 1}[norm], dim=1)
    assert size.max() <= 0.25 + 1e-5
    assert moved.min() >= 0
    assert moved.max() <= 1
    assert not moved.requires_grad
    assert all(p.grad is None for p in model.parameters())


def losses(made: World) -> list[float]:
    """Of every step, from the log of the training."""
    assert made.target.folder is not None
    with (made.maker.means.home.models.parent / "training" / made.target.folder.name / "log.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def test_the_same_recipe_makes_the_same_weights_however_a_step_is_divided(tmp_path):
    worlds = [world(tmp_path / name, micro_batch=size) for name, size in (("a", None), ("b", None), ("c", 32))]
    first, second, divided = (losses(made) for made in worlds)
    made = [weights(one) for one in worlds[:2]]
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])
    assert first == second
    assert divided == pytest.approx(first, rel=1e-3)  # signs of gradients near zero are rounding


def test_what_the_adversary_does_decides_the_model(tmp_path):
    home = tmp_path
    changes = ({}, {"defense.steps": 3}, {"defense.relative_step": 0.5}, {"defense.eps": 0.05},
               {"defense.norm": "l2"}, {"profile.budgets.linf": "0.2"})  # fmt: skip
    assert len({world(home, change).target.digest for change in changes}) == len(changes)
    assert world(home, {"profile.budgets.l2": "9"}).target.digest == world(home).target.digest


def test_a_killed_training_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    whole, broken = world(tmp_path / "whole"), world(tmp_path / "broken")
    broken.maker._training = replace(broken.maker._training, checkpoint_every=1)
    asked, move = [], Hardening.move

    def killed(self, *args):
        asked.append(1)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return move(self, *args)

    monkeypatch.setattr(Hardening, "move", killed)
    with pytest.raises(KeyboardInterrupt):
        assert broken.target
    asked[:] = [1] * 3  # the third step and no other
    after = weights(broken)
    assert len(asked) == 4
    expected = weights(whole)
    assert all(torch.equal(expected[name], after[name]) for name in expected)


def test_a_training_without_an_adversary_is_what_it_was(tmp_path, monkeypatch):
    """A point for a ball and no step: the images are moved nowhere, and the weights are those of plain training."""
    made = []
    for name, hardening in (("a", None), ("b", Hardening(Budget(Norm.LINF, Fraction(0)), 1, 1.0))):
        w = world(tmp_path / name)
        model = w.start.model.requires_grad_(True)
        means = replace(w.maker.means.training, workspace=None)
        fit(
            model,
            w.train_split,
            w.spec.profile.recipes["adversarial"],
            seed=1,
            means=means,
            title="x",
            hardening=hardening,
        )
        made.append(model.state_dict())
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"defense.eps": "0"}, "defense.eps is 0"),
        ({"defense.eps": "big"}, "is not a number"),
        ({"profile.budgets": {"l2": "1"}}, "no default eps for linf"),
        ({"profile.recipes": {"full": {"steps": 1, "batch_size": 1, "learning_rate": 1}}}, "no recipe 'adversarial'"),
    ],
)
def test_bad_input_is_refused_before_anything_is_made(tmp_path, settings, said):
    with pytest.raises(InputError, match=said):
        world(tmp_path, settings)


def test_a_plan_counts_the_adversary_of_every_step(cli):
    """A step costs its own forward and backward, and those of each gradient of the adversary."""
    flops = {}
    for steps in (1, 2, 3):
        Path("c.yaml").write_text(
            f"defense: adversarial\nthreat: query-score\nlimit: 5\nset: {{defense.steps: {steps}}}\n"
        )
        done = cli("plan", "c.yaml", "--no-measure", "--json")
        assert done.code == 0, done.err
        base, own = json.loads(done.out)["trainings"]
        assert own["name"] == "adversarial target"
        assert own["memory"] == base["memory"]
        flops[steps] = own["amount"]["flops"] / own["steps"]
        plain = base["amount"]["flops"] / base["steps"]
    gradient = flops[2] - flops[1]
    assert flops[3] - flops[2] == gradient
    assert flops[1] - gradient == pytest.approx(plain, rel=1e-6)
    assert 0.5 * plain < gradient < plain  # no gradients of weights in it


@pytest.mark.slow
def test_it_stands_where_the_plain_model_falls(cli):
    """AutoAttack with everything known, on the profile's own budget."""
    arguments = '{"depths":[2,2,1,1],"dims":[32,48,64,96],"ls_init_value":null}'
    own = [
        f"profile.base.{name}" for name in ("architecture=convnext_atto", f"arguments={arguments}", "recipe.steps=300")
    ]
    own = [word for setting in own for word in ("--set", setting)]
    left = {}
    for defense, more in (
        ("plain", ()),
        ("adversarial", ("--set", "defense.steps=3", "--set", "defense.relative_step=0.5")),
    ):
        done = cli("run", "--defense", defense, "--threat", "white-box", "--limit", "60", "--json", *own, *more)
        left[defense] = json.loads(done.out)["metrics"]
    assert left["adversarial"]["clean_accuracy"] > 0.85
    assert left["adversarial"]["robust_accuracy"] > left["plain"]["robust_accuracy"] + 0.2

"""The composable transfer attack: its budget, its randomness, its parts, its hooks."""

import copy

import pytest
import torch
from torch import nn

from bench.attacks.presets import Bsr, Di, Mi, Ni, Pgn, Pna, Si, Tgr, Ti, Vmi, Vni
from bench.attacks.transfer.attack import Transfer
from bench.core.ball import allowance, distance
from bench.core.budget import Budget, Norm
from bench.core.errors import InputError
from bench.core.nouns import Adversary, Batch
from bench.core.registry import registry

PRESETS = {"mi": Mi, "ni": Ni, "di": Di, "ti": Ti, "si": Si, "vmi": Vmi, "vni": Vni, "pgn": Pgn, "bsr": Bsr,
           "pna": Pna, "tgr": Tgr}  # fmt: skip
FEW = {"vmi": {"neighbours": 2}, "vni": {"neighbours": 2}, "pgn": {"flat": 2}, "bsr": {"samples": 2}}
EPS = {Norm.LINF: "0.1", Norm.L2: "1.5", Norm.L1: "12"}
RANDOM = ["transfer", "di", "vmi", "vni", "pgn", "bsr", "pna"]
ALL = {  # every part at once
    "steps": 3, "nesterov": True, "samples": 2, "shift": 2, "noise": 1.0, "diversity": 0.7, "translation": 5,
    "scales": 2, "neighbours": 1, "flat": 1, "blocks": 2, "patch_out": 0.6, "stretch": 0.1, "tgr": True,
}  # fmt: skip


def make(name: str, **options):
    return registry("attacks").make(name, {"steps": 3, **FEW.get(name, {}), **options})


def vit(seed: int = 0) -> nn.Module:
    from timm.models import VisionTransformer

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = VisionTransformer(img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2, num_classes=5)
        for weight in network.parameters():
            nn.init.normal_(weight, std=0.2)
    return network.eval().requires_grad_(False)


def cnn() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 8, 5, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(1568, 5))
    return network.eval().requires_grad_(False)


class Mean(nn.Module):
    """An ensemble: logits averaged."""

    def __init__(self, *members: nn.Module) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([m(x) for m in self.members]).mean(0)


def images(n: int = 8) -> Batch:
    generator = torch.Generator().manual_seed(3)
    x = nn.functional.interpolate(torch.rand(n, 3, 8, 8, generator=generator), size=32, mode="bilinear")
    return Batch(tuple(f"i{i}" for i in range(n)), x, torch.arange(n) % 5)


def run(attack, source, batch=None, norm=Norm.LINF, seed=0, **means):
    batch = batch or images()
    return attack.perturb(Adversary(source, Budget.parse(f"{norm}:{EPS[norm]}"), seed, **means), batch)


@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("name", ["transfer", *PRESETS])
def test_the_budget_and_the_box_are_kept_and_the_images_are_moved(name, norm):
    batch = images()
    x = run(make(name), vit(), batch, norm)
    budget = Budget.parse(f"{norm}:{EPS[norm]}")
    assert (distance(x, batch.images, norm) <= budget.radius + allowance(budget, 3072)).all()
    assert ((x >= 0) & (x <= 1)).all()
    assert (distance(x, batch.images, norm) > budget.radius / 10).all()


@pytest.mark.parametrize("name", ["transfer", *PRESETS])
def test_an_image_gets_the_same_in_any_batch(name):
    """Bit for bit, with batches of 7 and 64, in another order, in other company."""
    source, batch = vit(), images(13)
    seven, many = (run(make(name), source, batch, batch_size=n) for n in (7, 64))
    assert torch.equal(seven, many)
    order = [5, 3, 11]
    assert torch.equal(run(make(name), source, batch.take(order)), many[order])


@pytest.mark.parametrize("name", ["transfer", *PRESETS])
def test_another_seed_draws_otherwise_where_something_is_drawn(name):
    source = vit()
    first, again, other = (run(make(name), source, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (name not in RANDOM)


def test_no_global_seed_is_used():
    source = vit()
    first = run(make("transfer"), source)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    assert torch.equal(first, run(make("transfer"), source))
    assert torch.equal(state, torch.get_rng_state())


def test_all_parts_together_run_and_keep_the_budget():
    batch = images()
    for norm in Norm:
        x = run(Transfer(**ALL), vit(), batch, norm)
        assert (distance(x, batch.images, norm) <= Budget.parse(f"{norm}:{EPS[norm]}").radius * 1.00001).all()
        assert x.isfinite().all()


PARTS = {
    "momentum": {"momentum": 0.0},
    "nesterov": {"nesterov": True},
    "noise": {"noise": 0.5},
    "shift": {"shift": 2},
    "diversity": {"diversity": 1.0},
    "translation": {"translation": 5},
    "scales": {"scales": 3},
    "neighbours": {"neighbours": 2},
    "flat": {"flat": 2},
    "blocks": {"blocks": 2},
    "pna": {"pna": True},
    "patch_out": {"patch_out": 0.5},
    "tgr": {"tgr": True},
    "stretch": {"stretch": 5.0},
    "loss": {"loss": "margin"},
}


@pytest.mark.parametrize("part", PARTS)
def test_every_part_does_something(part):
    source = vit()
    plain, with_it = (run(Mi(steps=4, **options), source) for options in ({}, PARTS[part]))
    moved = (plain != with_it).flatten(1).any(1).float().mean()
    assert moved > 0.7, f"{part} changed {moved:.0%} of the images"


OFF = {
    "ni": {"nesterov": False},
    "di": {"diversity": 0.0},
    "ti": {"translation": 0},
    "si": {"scales": 1},
    "vmi": {"neighbours": 0},
    "vni": {"neighbours": 0, "nesterov": False},
    "pgn": {"flat": 0},
    "bsr": {"blocks": 1, "samples": 1},
    "pna": {"pna": False, "patch_out": 1.0, "stretch": 0.0},
    "tgr": {"tgr": False},
}


@pytest.mark.parametrize("name", OFF)
def test_a_preset_without_its_part_is_mi(name):
    source = vit()
    assert torch.equal(run(PRESETS[name](**OFF[name]), source), run(Mi(), source))


def test_the_presets_hold_the_published_figures():
    """Of the papers and TransferAttack's files; what was in units of 16/255 is in units of eps."""
    for preset in PRESETS.values():
        attack = preset()
        assert (attack.steps, attack.relative_step, attack.momentum, attack.loss) == (10, 0.1, 1.0, "cross-entropy")
    assert (Di().diversity, Di().resize) == (0.5, 1.1)
    assert (Ti().translation, Si().scales) == (15, 5)
    assert (Vmi().neighbours, Vmi().neighbour_radius) == (20, 1.5)
    assert (Pgn().flat, Pgn().flat_radius, Pgn().flat_balance) == (20, 3.0, 0.5)
    assert (Bsr().samples, Bsr().blocks, Bsr().degrees) == (20, 3, 24.0)
    assert (round(196 * Pna().patch_out), Pna().stretch) == (130, 0.1)


@pytest.mark.parametrize("options", [{"pna": True}, {"tgr": True}, {"patch_out": 0.5}])
def test_a_source_without_transformer_blocks_is_refused_in_one_line(options):
    attack = Mi(**options)
    attack.check(vit())
    for call in (lambda: attack.check(cnn()), lambda: run(attack, cnn()), lambda: run(attack, lambda x: x.sum((2, 3)))):
        with pytest.raises(InputError, match="source has no ViT blocks") as error:
            call()
        assert "\n" not in str(error.value)
        assert "--attack vmi" in str(error.value)
    Mi().check(cnn())


@pytest.mark.parametrize("options", [{"pna": True}, {"tgr": True}])
def test_the_source_is_afterwards_what_it_was(options):
    source, x = Mean(vit(0), vit(1)), images().images

    def answers():
        moving = x.clone().requires_grad_()
        logits = source(moving)
        return logits.detach(), torch.autograd.grad(logits[:, 0].sum(), moving)[0]

    before, state = answers(), copy.deepcopy(source.state_dict())
    run(Mi(**options), source)
    with pytest.raises(
        RuntimeError, match="shapes cannot be multiplied"
    ):  # also when the attack breaks off: another size than the model's
        run(Mi(**options), nn.Sequential(source, nn.Linear(4, 2)))
    after = answers()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(torch.equal(v, state[k]) for k, v in source.state_dict().items())
    assert all(m.attn.fused_attn for member in source.members for m in member.blocks)
    assert not any(m._forward_hooks or m._backward_hooks for m in source.modules())


@pytest.mark.parametrize("options", [{"pna": True}, {"tgr": True}])
def test_every_member_of_an_ensemble_is_treated(options):
    """Two copies of one network average to it, hooks and all."""
    one, two = run(Mi(**options), vit()), run(Mi(**options), Mean(vit(), vit()))
    assert (one != two).float().mean() < 0.01


def test_the_calls_foretold_are_the_calls_made():
    for attack in (Mi(), Transfer(**{**ALL, "keep": "best"}), Vmi(steps=3, neighbours=2), Pgn(steps=2, flat=3)):
        counted = Counted(vit())
        run(attack, counted)
        calls = attack.calls(5, Budget.parse("linf:0.1"))
        assert calls.least == calls.most
        assert (counted.forwards, counted.backwards) == (8 * calls.most.forwards, 8 * calls.most.backwards)


class Counted(nn.Module):
    """Counts images."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.forwards, self.backwards = model, 0, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.forwards += len(x)
        self.backwards += len(x) * x.requires_grad
        return self.model(x)


def test_keep_best_is_never_worse_on_the_source():
    source, batch = vit(), images()

    def loss(x):
        return nn.functional.cross_entropy(source(x), batch.labels, reduction="none")

    last, best = (run(Transfer(keep=keep, loss="cross-entropy"), source) for keep in ("last", "best"))
    assert (loss(best) >= loss(last) - 1e-4).all()


def test_an_even_kernel_is_refused():
    with pytest.raises(InputError, match="odd"):
        registry("attacks").make("ti", {"translation": 4})


@pytest.mark.parametrize("loss", ["margin", "cross-entropy"])
@pytest.mark.parametrize("name", ["mi", "ni", "si", "vmi", "vni", "pgn", "pgd"])
def test_on_a_linear_model_all_reach_the_one_corner(name, loss):
    """For two logits that differ by w.x the best point of the l-inf ball is x + eps sign(w)."""
    w = torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(5)) / 300
    batch = images(5)
    batch = Batch(batch.ids, batch.images * 0.6 + 0.2, torch.zeros(5, dtype=torch.int64))

    def linear(x):
        height = (x * w).flatten(1).sum(1)
        return torch.stack([-height, height], 1)

    steps = {"steps": 30} if name == "pgd" else {"steps": 10}
    x = run(make(name, loss=loss, **steps), linear, batch)
    assert torch.allclose(x, batch.images + 0.1 * w.sign(), atol=1e-6)

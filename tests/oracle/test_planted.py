"""Attack validity: adversarial examples that are known to exist are found.

After Zimmermann et al., "Increasing confidence in adversarial robustness evaluations" (NeurIPS 2022): a network is made
to answer with another class on a known point of every image's ball, here the image with faint stripes, and to stay on
random points of the ball. Its bias is then moved until the known points of the images lie just beyond the boundary. An
attack that misses them is broken; weak ones must miss them, or the test would say nothing.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bench.core.budget import Budget
from bench.core.errors import InputError
from bench.core.nouns import Adversary, Batch
from bench.core.plugins import Storage
from bench.core.preprocessing import preset
from bench.core.registry import registry

EPS, SIDE = 0.1, 32
POOL, COUNT = 260, 200
SCALE, SLACK = 8.0, 0.02  # of the logits
FOUND, MISSED = 0.99, 0.2
ANGLES = (0, math.pi / 3, 2 * math.pi / 3)
# Fewer copies and neighbours than published, for time; the slow test runs all as they are.
SHORT = {"bsr": {"samples": 4}, "pgn": {"flat": 2}, "vmi": {"neighbours": 3}, "vni": {"neighbours": 3},
         "autoattack": {"version": "custom", "attacks": ["apgd-ce", "apgd-t"]},
         "pgd": {"steps": 20}, "transfer": {"samples": 2, "steps": 20}, "si": {"scales": 3}}  # fmt: skip
# Its copies have their blocks at other places, so it sees only what holds wherever it lies; to a ViT places matter.
FREE_OF_PLACE = {"bsr"}
FOR_VIT = {"pna", "tgr"}


def takes_gradients(name: str) -> bool:
    plugin = registry("attacks").load(name)
    return str(getattr(plugin, "needs", "gradients")) == "gradients" and plugin.__module__.startswith("bench.")


NAMES = [name for name in registry("attacks").names() if takes_gradients(name)]


class Conv(nn.Module):
    """Random convolutions, pooled: 96 features."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 12, 5, stride=2, padding=2, bias=False)
        self.second = nn.Conv2d(12, 96, 5, stride=2, padding=2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.second(F.relu(self.first(x - 0.5)))).mean((2, 3))


def vit() -> nn.Module:
    """A random vision transformer of timm's, its tokens pooled: 96 features."""
    from timm.models import VisionTransformer

    network = VisionTransformer(
        img_size=SIDE, patch_size=8, embed_dim=96, depth=2, num_heads=4, num_classes=0, global_pool="avg"
    )
    for name, weight in network.named_parameters():
        if weight.dim() > 1 and "pos" not in name:  # timm's start is nearly linear
            nn.init.normal_(weight, std=1.5 / math.sqrt(weight[0].numel()))
    return network


class Detector(nn.Module):
    """A linear readout of a network's features."""

    def __init__(self, network: nn.Module, weight: torch.Tensor, bias: torch.Tensor) -> None:
        super().__init__()
        self.network, self.weight, self.bias = network, weight, bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x) @ self.weight + self.bias


def stripes(n: int, angle: float, generator: torch.Generator) -> torch.Tensor:
    """(n, 3, SIDE, SIDE) of -1 and 1: stripes of width 8 at a place of their own."""
    i, j = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    phase = torch.rand(n, 1, 1, generator=generator) * 2 * math.pi
    wave = torch.sin((i * math.sin(angle) + j * math.cos(angle)) * 2 * math.pi / 16 + phase)
    return wave.sign()[:, None].expand(-1, 3, -1, -1)


def digits(name: str, n: int) -> torch.Tensor:
    """Real images, faint enough that the ball lies in the box."""
    storage = Storage(None, (3, SIDE, SIDE), preset("none", side=SIDE, crop_share=1.0, interpolation="bicubic"))
    return 0.15 + 0.7 * registry("datasets").make("digits").split(name, storage).read(range(n)).images


def known(x: torch.Tensor, generator: torch.Generator) -> list[torch.Tensor]:
    """A point of each image's ball for each class but the first."""
    return [x + EPS * stripes(len(x), angle, generator) for angle in ANGLES]


def chance(x: torch.Tensor, generator: torch.Generator) -> list[torch.Tensor]:
    """Random points and corners of each image's ball."""
    noise = torch.randn(x.shape, generator=generator)
    return [x + EPS * (torch.rand(x.shape, generator=generator) * 2 - 1), x + EPS * noise.sign()]


@dataclass(frozen=True)
class Planted:
    """A model, the images that it calls class 0, and for each a point of its ball that the model calls another."""

    model: nn.Module
    batch: Batch
    points: torch.Tensor
    generator: torch.Generator


@functools.cache
def planted(kind: str) -> Planted:
    """The stripes' detector, its bias such that a known point of every image lies just beyond the boundary."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = {"conv": Conv, "vit": vit}[kind]().eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(1)
    x = digits("test", POOL)
    points = torch.stack(known(x, generator))
    model = _readout(network, [x, *chance(x, generator)], list(points)).eval()
    best = torch.stack([leads(model, p) for p in points]).max(0)
    reach = best.values - leads(model, x)  # what the known point gains
    chosen = reach.argsort(descending=True)[:COUNT].sort().values
    model.bias[0] += best.values[chosen].min() - SLACK
    ids = tuple(f"p{i}" for i in chosen.tolist())
    batch = Batch(ids, x[chosen], torch.zeros(COUNT, dtype=torch.int64))
    return Planted(model, batch, points[best.indices[chosen], chosen], generator)


def leads(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """By how much another class is ahead of class 0, (B,)."""
    logits = model(x)
    return logits[:, 1:].amax(1) - logits[:, 0]


def _readout(network: nn.Module, none: list[torch.Tensor], some: list[torch.Tensor]) -> Detector:
    """Least squares of the features on class 0 for the images of ``none``, on a class each for those of ``some``."""
    features = torch.cat([network(x) for x in (*none, *some)]).double()
    classes = [0] * len(none) + list(range(1, len(some) + 1))
    labels = torch.tensor(classes).repeat_interleave(len(none[0]))
    mean, spread = features.mean(0), features.std(0) + 1e-9
    inputs = torch.cat([(features - mean) / spread, torch.ones(len(features), 1)], 1)
    normal = inputs.T @ inputs + 0.1 * torch.eye(inputs.shape[1])
    solved = torch.linalg.solve(normal, inputs.T @ F.one_hot(labels).double()) * SCALE
    weight = solved[:-1] / spread[:, None]
    return Detector(network, weight.float(), (solved[-1] - mean @ weight).float())


def found(name: str, what: Planted, options: dict | None = None) -> float:
    attack = registry("attacks").make(name, options)
    candidates = attack.perturb(Adversary(what.model, Budget.parse(f"linf:{EPS}"), 0), what.batch)
    assert (candidates - what.batch.images).abs().max() <= EPS + 1e-6
    return (leads(what.model, candidates) > 0).float().mean().item()


@pytest.mark.parametrize("kind", ["conv", "vit"])
def test_the_known_points_fool_and_chance_does_not(kind):
    what = planted(kind)
    assert (leads(what.model, what.batch.images) < 0).all()
    assert (leads(what.model, what.points) > 0).all()
    assert ((what.points - what.batch.images).abs() <= EPS + 1e-6).all()
    for points in chance(what.batch.images, what.generator):
        assert (leads(what.model, points) > 0).float().mean() < 0.05


def check(name: str, kind: str, options: dict | None) -> None:
    if kind == "vit" and name in FREE_OF_PLACE:
        pytest.skip("averages over copies that this network answers otherwise")
    if kind == "conv" and name in FOR_VIT:
        with pytest.raises(InputError, match="no ViT blocks"):
            found(name, planted(kind), options)
        return
    share = found(name, planted(kind), options)
    assert share >= FOUND, f"{name} found {share:.3f} of the known adversarial examples"


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["conv", "vit"])
@pytest.mark.parametrize("name", [name for name in NAMES if name != "autoattack-reference"])  # slow, not the project's
def test_every_gradient_attack_finds_what_is_known_to_exist(name, kind):
    check(name, kind, SHORT.get(name))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["conv", "vit"])
@pytest.mark.parametrize("name", NAMES)
def test_with_the_published_options_too(name, kind):
    check(name, kind, None)


@pytest.mark.parametrize(
    ("kind", "name", "options"),
    [
        ("conv", "mi", {"steps": 1, "relative_step": 0.01}),
        ("conv", "mi", {"steps": 1, "relative_step": 0.03}),
        ("vit", "mi", {"steps": 1, "relative_step": 0.05}),
        ("vit", "pgd", {"steps": 1, "relative_step": 0.01}),
        ("vit", "transfer", {"steps": 2, "relative_step": 0.01}),
        ("vit", "bsr", {"samples": 2, "steps": 5}),
    ],
)
def test_a_crippled_attack_does_not(kind, name, options):
    assert found(name, planted(kind), options) <= MISSED

"""Slots, order, precision and memory change nothing about an image's outcome."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn

from bench.attacks.autoattack.attack import AutoAttack
from bench.attacks.autoattack.conduct import Conduct
from bench.attacks.autoattack.search import Search
from bench.attacks.autoattack.sequence import run_sequence
from bench.attacks.autoattack.types import Finished
from bench.attacks.autoattack.versions import SEQUENCES, Lengths, build
from bench.core.budget import Budget, Norm
from bench.core.cost import Meter
from bench.core.errors import BenchError, InputError
from bench.core.nouns import Adversary, Batch, Precision
from tests.oracle.autoattack import zoo

EFFORT = Lengths(iterations=20, queries=60, targets=2)
STANDARD = list(SEQUENCES["standard"])


def attacked(
    model: nn.Module, images: list[Batch], conduct: Conduct, budget: Budget, names: list[str] = STANDARD
) -> tuple[dict[str, Finished], dict[str, Meter]]:
    results: list[Finished] = []
    meters = run_sequence(build(names, budget, EFFORT), model, images, zoo.seed, conduct, results.append)
    assert len({r.guest.id for r in results}) == len(results) == sum(map(len, images))
    return {r.guest.id: r for r in results}, meters


def assert_equal(one: dict[str, Finished], other: dict[str, Finished]) -> None:
    assert one.keys() == other.keys()
    for name, result in one.items():
        assert result.fooled == other[name].fooled, name
        a, b = result.candidate, other[name].candidate
        assert (a is None) == (b is None), name
        assert a is None or b is None or torch.equal(a, b), name


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
@pytest.mark.parametrize("model", ["vit", "cnn", "robust"])
def test_slots_order_and_shards_change_no_bit(model: str, norm: Norm) -> None:
    radii = {"vit": (0.02, 0.2), "cnn": (0.04, 0.7), "robust": (0.12, 1.2)}[model]
    budget, images = zoo.radius(norm, radii[norm is Norm.L2]), zoo.batch(26)
    net = zoo.exact(model)
    base, _ = attacked(net, [images], Conduct(64), budget)
    assert 0 < sum(r.fooled for r in base.values()) < 26
    for slots in (1, 7, 20):
        if slots == 1:
            some = images.take(range(6))
            alone, _ = attacked(net, [some], Conduct(slots), budget)
            assert_equal(alone, {k: base[k] for k in some.ids})
        else:
            assert_equal(attacked(net, [images], Conduct(slots), budget)[0], base)
    order = torch.randperm(26, generator=torch.Generator().manual_seed(1)).tolist()
    assert_equal(attacked(net, [images.take(order)], Conduct(16), budget)[0], base)
    shards = [attacked(net, [images.take(range(i, 26, 3))], Conduct(32), budget)[0] for i in range(3)]
    assert_equal({k: v for shard in shards for k, v in shard.items()}, base)
    fixed, _ = attacked(net, [images], Conduct(64, climbing=False), budget)
    assert_equal(fixed, base)
    lazy, _ = attacked(net, [images], Conduct(20, period=5), budget)
    assert_equal(lazy, base)
    for threads in (2, 3):
        assert_equal(attacked(net, [images], Conduct(20, threads=threads), budget)[0], base)


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
@pytest.mark.parametrize("model", ["vit", "cnn"])
def test_a_recorded_model_and_windows_tried_ahead_change_no_bit_either(model: str, norm: Norm) -> None:
    """Enough queries for a recording to be made; fewer images than a batch tries windows for ahead."""
    radii = {"vit": (0.035, 0.7), "cnn": (0.06, 1.0)}[model]
    budget, images = zoo.radius(norm, radii[norm is Norm.L2]), zoo.batch(12)
    attacks = build(["square"], budget, Lengths(queries=510))

    def found(batch: Batch, conduct: Conduct) -> dict[str, Finished]:
        results: list[Finished] = []
        run_sequence(attacks, zoo.exact(model), [batch], zoo.seed, conduct, results.append)
        return {r.guest.id: r for r in results}

    base = found(images, Conduct(64))
    assert 0 < sum(r.fooled for r in base.values()) < 12
    for conduct in (Conduct(4), Conduct(64, threads=2), Conduct(8, threads=3)):
        assert_equal(found(images, conduct), base)
    few = images.take(range(3))
    assert_equal(found(few, Conduct(64)), {name: base[name] for name in few.ids})


class Starved(nn.Module):
    """Runs out of memory above a batch size, and once in a while on any batch."""

    def __init__(self, model: nn.Module, most: int) -> None:
        super().__init__()
        self.model, self.most, self.calls, self.failures = model, most, 0, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if len(x) > (self.most if self.calls > 30 else 2 * self.most):
            self.failures += 1
            raise torch.OutOfMemoryError("simulated")
        return self.model(x)


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
def test_running_out_of_memory_loses_no_image_and_changes_no_bit(norm: Norm) -> None:
    net, budget = zoo.exact("robust"), zoo.radius(norm, 0.12 if norm is Norm.LINF else 1.2)
    images = zoo.batch(60)
    plain, _ = attacked(Starved(net, 1000), [images], Conduct(64), budget)  # the same kernels, never short
    starved = Starved(net, 12)
    rationed, meters = attacked(starved, [images], Conduct(64), budget)
    assert_equal(rationed, plain)
    assert starved.failures
    assert meters["apgd-ce"].halvings


def test_memory_that_never_suffices_is_said_in_one_line() -> None:
    with pytest.raises(BenchError, match="single image"):
        attacked(Starved(zoo.zoo("robust"), 0), [zoo.batch(4)], Conduct(8), zoo.radius(Norm.LINF, 0.1))


class Liar(nn.Module):
    """In low precision it calls half of the images something else."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        logits = self.model(x)
        if not torch.is_autocast_enabled("cpu"):
            return logits
        odd = ((x.flatten(1).sum(1) * 1000).long() % 2).bool()
        return torch.where(odd[:, None], logits.flip(1), logits)


class Moody(nn.Module):
    """Changes its mind by a Python counter, which a recording of its calls would freeze."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.calls = model, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.model(x if self.calls % 2 else x.flip(3))


def test_a_model_is_replayed_from_a_recording_only_if_it_says_that_it_may_be() -> None:
    x = zoo.batch(4).images
    moody = Search(Moody(zoo.zoo("cnn")), Precision.FP32, x).recording
    assert not torch.equal(moody(x), moody(x))  # type: ignore[operator]
    assert isinstance(Search(zoo.zoo("vit"), Precision.FP32, x).recording, torch.jit.ScriptModule)


class Straight(nn.Module):
    """Rounds, with the identity in place of the gradient; a recording keeps the rounding and loses the identity."""

    traceable = True

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images + ((images * 255).round() / 255 - images).detach())


def test_a_recording_that_loses_a_gradient_is_not_used() -> None:
    x = zoo.batch(20).images
    fast = Search(Straight(zoo.zoo("vit")).eval(), Precision.FP32, x).recording
    leaf = x[:4].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(fast(leaf).sum(), leaf)
    assert (gradient.flatten(1).abs().amax(1) > 0).all()
    assert not isinstance(fast, torch.jit.ScriptModule)


@pytest.mark.parametrize("keep", ["first", "last", "best"])
def test_what_low_precision_calls_fooled_counts_only_if_fp32_agrees(keep: str) -> None:
    net, budget, images = Liar(zoo.zoo("robust")), zoo.radius(Norm.LINF, 0.06), zoo.batch(40)
    results, meters = attacked(
        net, [images], Conduct(16, keep=keep, precision=Precision.BF16), budget, ["apgd-ce", "square"]
    )  # type: ignore[arg-type]
    meter = meters["apgd-ce"]
    assert meter.claims >= meter.refuted > 0
    for row, name in enumerate(images.ids):
        result = results[name]
        if result.fooled and result.candidate is not None:
            assert int(net(result.candidate[None]).argmax(1)) != int(images.labels[row])
    exact, _ = attacked(net, [images], Conduct(16, keep=keep), budget, ["apgd-ce", "square"])  # type: ignore[arg-type]
    assert sum(r.fooled for r in results.values()) >= sum(r.fooled for r in exact.values()) - 1


def test_budget_mode_keeps_the_highest_loss_and_attacks_misclassified_images() -> None:
    net, budget, images = zoo.zoo("vit"), zoo.radius(Norm.LINF, 0.02), zoo.batch(40)
    found = {}
    for keep in ("first", "last", "best"):
        conduct = Conduct(16, keep=keep, misclassified=True)  # type: ignore[arg-type]
        found[keep], _ = attacked(net, [images], conduct, budget, ["apgd-ce"])
    wrong = net(images.images).argmax(1) != images.labels
    assert bool(wrong.any())
    loss = {}
    for keep, results in found.items():
        ordered = [results[i] for i in images.ids]
        points = torch.stack([r.guest.image if r.candidate is None else r.candidate for r in ordered])
        loss[keep] = nn.functional.cross_entropy(net(points), images.labels, reduction="none").detach()
        assert [results[i].fooled for i in images.ids] == [found["first"][i].fooled for i in images.ids]
    assert bool((loss["best"] >= loss["last"] - 1e-5).all())
    assert float(loss["best"].mean()) > float(loss["first"].mean())
    clean = nn.functional.cross_entropy(net(images.images), images.labels, reduction="none").detach()
    assert bool((loss["best"][wrong] > clean[wrong]).all())


def test_plugin_hands_back_clean_images_where_nothing_fools() -> None:
    net, images = zoo.zoo("robust"), zoo.batch(24)
    for parameter in net.parameters():
        parameter.requires_grad_(True)
        parameter.grad = None
    attack = AutoAttack(iterations=15, queries=40, targets=2)
    adversary = Adversary(net, Budget(Norm.LINF, Fraction("0.12")), seed=7)
    candidates = attack.perturb(adversary, images)
    assert torch.equal(candidates, attack.perturb(adversary, images))
    moved = (candidates != images.images).flatten(1).any(1)
    assert torch.equal(moved, zoo.fooled(net, candidates, images.labels))
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    with pytest.raises(InputError, match="l1"):
        attack.perturb(Adversary(net, Budget(Norm.L1, Fraction(1))), images)
    with pytest.raises(ValueError, match="custom"):
        AutoAttack(attacks=("square",))
    two = Adversary(lambda x: net(x)[:, :3], Budget(Norm.LINF, Fraction("0.01")))
    three = Batch(images.ids, images.images, images.labels % 3)
    with pytest.warns(UserWarning, match="classes"):
        AutoAttack(iterations=2, queries=2).perturb(two, three)


class Noisy(nn.Module):
    """Draws lots."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x + 0.05 * torch.randn_like(x))


class Stepped(nn.Module):
    """Rounds its input, so that no gradient passes."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model((x * 31).round() / 31)


def test_signs_that_robustness_is_only_apparent_are_warned_of() -> None:
    net, images = zoo.zoo("robust"), zoo.batch(24)
    attack, budget = AutoAttack(iterations=5, queries=200, targets=1), zoo.radius(Norm.LINF, 0.15)
    with pytest.warns(UserWarning, match="randomised"):
        attack.perturb(Adversary(Noisy(net), budget), images)
    with pytest.warns(UserWarning, match="gradient") as said:
        attack.perturb(Adversary(Stepped(net), budget), images)
    texts = [str(w.message) for w in said]
    assert any("apgd-ce: the gradient is zero at 2" in text for text in texts), texts
    assert any("square fooled" in text and "masked" in text for text in texts), texts


def test_rand_version_averages_gradients() -> None:
    net, images = zoo.zoo("robust"), zoo.batch(8)
    results: list[Finished] = []
    attack = AutoAttack(version="rand", iterations=3)
    meters = attack.stream(Adversary(net, Budget(Norm.LINF, Fraction("0.01"))), [images], results.append)
    assert meters["apgd-ce"].backwards == 20 * 4 * sum(not (r.fooled and r.candidate is None) for r in results)


MEMORY = """
import resource, sys
import torch
from torch import nn
from fractions import Fraction
from bench.attacks.autoattack.attack import AutoAttack
from bench.core.budget import Budget, Norm
from bench.core.nouns import Adversary, Batch

count, side = int(sys.argv[1]), int(sys.argv[2])
net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 10)).requires_grad_(False)

def stream():
    for start in range(0, count, 50):
        x = torch.rand(50, 3, side, side, generator=torch.Generator().manual_seed(start))
        yield Batch(tuple(f"{start + i}" for i in range(50)), x, net(x).argmax(1))

attack = AutoAttack(version="custom", attacks=("apgd-ce",), iterations=1)
seen = []
adversary = Adversary(net, Budget(Norm.LINF, Fraction(1, 255)), batch_size=32)
attack.stream(adversary, stream(), lambda result: seen.append(result.guest.id))
assert len(set(seen)) == count, len(seen)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.parametrize(
    ("few", "many", "side"), [(200, 1600, 96), pytest.param(1000, 50_000, 224, marks=pytest.mark.slow)]
)
def test_memory_is_bounded_by_slots_not_by_the_data_set(few: int, many: int, side: int) -> None:
    """Peak resident memory in MB, each in a separate process."""
    peaks = []
    for count in (few, many):
        argv = [sys.executable, "-W", "ignore", "-c", MEMORY, str(count), str(side)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout))
    assert peaks[1] - peaks[0] < (300 if side == 224 else 100), peaks

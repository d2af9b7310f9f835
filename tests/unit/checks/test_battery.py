"""The parts of the battery on small models whose answer is known."""

from fractions import Fraction

import pytest
import torch
from torch import nn

from bench.checks.battery import Status, Subject, quick
from bench.checks.battery.asking import apart, ask, slope
from bench.checks.battery.bpda import fitted, stood_in
from bench.checks.battery.ensemble import find_average
from bench.checks.battery.exact import better, more_than, rank
from bench.checks.battery.traces import changed, look
from bench.checks.chance import one_sided
from bench.core.budget import Budget, Norm
from bench.core.nouns import Batch


def network(seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.Tanh(), nn.Flatten(), nn.Linear(8 * 7 * 7, 5))
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * 2 / max(p[0].numel(), 1) ** 0.5)
    return model.eval().requires_grad_(False)


def batch(model: nn.Module, count: int = 16, seed: int = 1) -> Batch:
    """Random images with the model's own labels."""
    images = torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
    return Batch(tuple(f"{seed}-{i}" for i in range(count)), images, ask(model, images).argmax(1))


def subject(model: nn.Module, norm: Norm = Norm.LINF, eps: str = "1/20", **more) -> Subject:
    return Subject(model, batch(more.pop("labels", model)), 5, Budget(norm, Fraction(eps)), **more)


class Step(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Either(nn.Module):
    """One of its members, by a hash of the pixels."""

    def __init__(self, *members, say=None):
        super().__init__()
        self.members = nn.ModuleList(members)
        self.say = say

    def forward(self, x):
        each = torch.stack([m(x) for m in self.members], 1)
        which = (x.double().flatten(1).sum(1) * 1e5).long() % len(self.members)
        out = each[torch.arange(len(x)), which]
        return out if self.say is None else self.say(out)


@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("seed", range(3))
def test_a_smooth_model_passes_under_every_norm(norm, seed):
    radius = {Norm.LINF: "1/20", Norm.L2: "1", Norm.L1: "10"}[norm]
    found = quick(subject(network(seed), norm, radius, seed=seed))
    assert {f.status for f in found} <= {Status.PASS, Status.SKIPPED}, found


def test_it_passes_in_the_other_range_of_sizes():
    """Small gradients, small eps, many or few classes right: nothing hangs on the digits' scale."""
    model = network()
    for factor, eps in ((1e-3, "1/255"), (30.0, "1/255"), (1.0, "0")):
        scaled = nn.Sequential(model, Step(lambda z, factor=factor: z * factor))
        found = quick(subject(scaled, eps=eps, labels=model))
        assert not [f for f in found if f.status is Status.FAIL], found


def test_wrong_labels_are_no_fault_of_the_model():
    wrong = batch(network())
    turned = Batch(wrong.ids, wrong.images, (wrong.labels + 1) % 5)
    found = quick(Subject(network(), turned, 5, Budget(Norm.LINF, Fraction(1, 20))))
    assert not [f for f in found if f.status is Status.FAIL], found


def test_a_model_that_raises_is_failed_and_not_raised():
    def refuse(x):
        raise ValueError("only one image\nat once")

    found = quick(Subject(Step(refuse), batch(network()), 5, Budget(Norm.LINF, Fraction(1, 20))))
    assert any(f.status is Status.FAIL and "ValueError: only one image at once" in f.meaning for f in found)


def test_shares_are_judged_by_exact_tests():
    assert not more_than(1, 64, 0.02)
    assert more_than(6, 64, 0.02)
    assert not more_than(0, 0, 0.02)
    assert not one_sided(4, 0)
    assert one_sided(8, 0)
    assert not one_sided(20, 18)
    assert better(30, 32, 15, 32)
    assert not better(30, 32, 28, 32)
    odds, p = rank(torch.arange(20.0) + 30, torch.arange(20.0))
    assert odds == 1.0
    assert p < 1e-6


def test_answers_are_compared_up_to_rounding_and_offset():
    a = torch.tensor([[1.0, 2.0, 3.0], [1.0, float("nan"), 3.0]])
    assert apart(a, a + 5)[0] < 1e-6
    assert apart(a, a)[1] == 0
    assert apart(a, torch.tensor([[1.0, 2.0, 4.0], [1.0, 2.0, 3.0]])).tolist() == pytest.approx([2 / 9, float("inf")])


def test_a_missing_gradient_is_told_from_one_that_is_not_finite():
    model, images = network(), batch(network()).images
    labels, rivals = torch.zeros(16, dtype=torch.int64), torch.ones(16, dtype=torch.int64)
    cut = nn.Sequential(Step(lambda x: x.detach()), model)
    assert bool((slope(cut, images, labels, rivals)[1] == torch.inf).all())
    odd = nn.Sequential(Step(lambda x: x + (x - x.detach()).sqrt()), model)
    assert bool(slope(odd, images, labels, rivals)[1].isnan().any())


def test_a_draw_among_members_is_found_by_its_answers():
    one, other = network(0), network(1)
    images = batch(one, 32).images
    average = find_average(Either(one, other), images)
    assert average is not None
    assert torch.allclose(ask(average, images), (ask(one, images) + ask(other, images)) / 2, atol=1e-5)
    wrapped = nn.Sequential(nn.Identity(), Either(one, other))
    nested = find_average(wrapped, images)
    assert nested is not None
    assert torch.allclose(ask(nested, images), ask(average, images))
    assert isinstance(wrapped[1], Either)


def test_members_alone_excuse_nothing():
    """A module with members that answers otherwise, or always with the same one, is not a random ensemble."""
    one, other = network(0), network(1)
    images = batch(one, 32).images
    assert find_average(Either(one, other, say=lambda z: z.round()), images) is None
    assert find_average(Either(one, one), images) is None


def test_a_trace_shows_every_kind_of_state():
    class Holder(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("kept", torch.zeros(3))
            self.register_buffer("cache", torch.zeros(3), persistent=False)
            self.weight = nn.Parameter(torch.ones(3))
            self.notes, self.count = {"deep": [torch.zeros(2)]}, 0

    holder = Holder()
    before = look(holder)
    assert changed(before, look(holder)) == []
    with torch.no_grad():
        holder.kept[1] = 1
        holder.cache[1] = 1
        holder.weight.data[0], holder.weight.data[1] = 2.0, 0.0
    holder.notes["deep"].append(torch.ones(1))
    holder.count = 1
    names = changed(before, look(holder))
    assert names[:2] == ["weight kept", "weight weight"]
    assert {"attribute cache", "attribute notes", "attribute count"} == set(names[2:])


def test_a_broken_step_is_found_and_given_the_identity_backward():
    model = nn.Sequential(nn.Identity(), Step(lambda x: (x * 7).round() / 7), network())
    images = batch(network()).images
    twin, names = stood_in(model, images)
    assert names == ["1"]
    assert torch.equal(ask(twin, images), ask(model, images))
    labels, rivals = torch.zeros(16, dtype=torch.int64), torch.ones(16, dtype=torch.int64)
    assert not bool((slope(model, images, labels, rivals)[1] != 0).any())
    assert bool((slope(twin, images, labels, rivals)[1] != 0).flatten(1).any(1).all())
    assert stood_in(network(), images)[1] == []


def test_a_surrogate_learns_what_has_no_slope():
    target = nn.Sequential(Step(lambda x: (x * 7).round() / 7), network())
    images = batch(network(), 64)
    model = fitted(target, None, [images], 0, steps=150)
    agrees = (ask(model, images.images).argmax(1) == images.labels).float().mean()
    assert agrees > 0.8
    assert bool((slope(model, images.images, images.labels, (images.labels + 1) % 5)[1] != 0).flatten(1).any(1).all())


def test_findings_follow_the_seed_and_leave_the_generators_alone():
    noisy = nn.Sequential(Step(lambda x: x + 0.1 * torch.randn_like(x)), network())
    asked = subject(noisy, labels=network())
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = quick(asked)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    assert quick(asked) == first


@pytest.mark.parametrize(("classes", "accuracy", "chance"), [
    (2, 1.0, False), (2, 0.75, False), (2, 0.5, True), (3, 0.625, False), (10, 0.125, True), (10, 0.375, False),
])  # fmt: skip
def test_chance_depends_on_the_number_of_classes(classes, accuracy, chance):
    images = torch.rand(16, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    model = nn.Sequential(nn.Flatten(), nn.Linear(768, classes)).eval().requires_grad_(False)
    said = ask(model, images).argmax(1)
    labels = torch.where(torch.arange(16) < round(16 * accuracy), said, (said + 1) % classes)
    labelled = Batch(tuple(f"{i}" for i in range(16)), images, labels)
    found = quick(Subject(model, labelled, classes, Budget(Norm.LINF, Fraction("1/20"))))
    (outputs,) = [f for f in found if f.check == "outputs"]
    assert ("at chance level" in outputs.meaning) == chance

"""The kinds of broken defenses that an attack takes for sound ones, on small models whose answer is known."""

from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn

from bench.checks.battery import Answer, Finding, Status, Subject, judged, quick
from bench.checks.battery.asking import ask, slope
from bench.checks.battery.bpda import Approximated, reattached
from bench.checks.battery.ensemble import find_drawn
from bench.checks.battery.moved import moved
from bench.core.budget import Budget, Norm
from bench.core.nouns import Batch


def network(seed: int = 0, hidden: int = 32) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(192, hidden), nn.Tanh(), nn.Linear(hidden, 5))
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * 2 / max(p[0].numel(), 1) ** 0.5)
    return model.eval().requires_grad_(False)


def batch(model: nn.Module, count: int = 16) -> Batch:
    """Smooth random images with the model's own labels."""
    small = torch.rand(count, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    images = nn.functional.interpolate(small, size=16, mode="bilinear", align_corners=True)
    return Batch(tuple(f"{i}" for i in range(count)), images, ask(model, images).argmax(1))


def found(model: nn.Module, *, honest: nn.Module | None = None, eps: str = "1/10", **more) -> dict[str, Finding]:
    own = batch(honest or model)
    return {f.check: f for f in quick(Subject(model, own, 5, Budget(Norm.LINF, Fraction(eps)), **more))}


class Function(nn.Module):
    """A function of the model and the images as a module."""

    def __init__(self, model, function):
        super().__init__()
        self.model, self.function = model, function

    def forward(self, x):
        return self.function(self.model, x)


def remembering(model: nn.Module, radius: float) -> nn.Module:
    """Right by a hair within a radius of the known images."""
    known = batch(model)

    def recall(inner, x) -> Tensor:
        out = inner(x)
        far = (x.detach()[:, None] - known.images).flatten(2).abs().amax(2)
        labels = known.labels[far.argmin(1)]
        lift = (out.amax(1) - out.gather(1, labels[:, None]).squeeze(1) + 0.05) * (far.amin(1) <= radius)
        wrong = (out.argmax(1) != labels).float()
        return out + (nn.functional.one_hot(labels, 5) * (lift * wrong)[:, None]).detach()

    return Function(model, recall)


class FirstLabel(nn.Module):
    """Repeats the first label that it gave nearby."""

    def __init__(self, model):
        super().__init__()
        self.model, self.seen = model, []

    def forward(self, x):
        out = self.model(x)
        lift = torch.zeros_like(out)
        for i, image in enumerate(x.detach()):
            near = [label for other, label in self.seen if float((other - image).abs().max()) <= 0.21]
            label = near[0] if near else int(out[i].detach().argmax())
            self.seen += [] if near else [(image.clone(), label)]
            lift[i, label] = out[i].detach().max() - out[i, label].detach() + 0.05
        return out + lift.detach()


def test_remembered_images_are_told_by_moved_copies_and_beyond_eps():
    model = network()
    inside = found(remembering(model, 0.1001), honest=model)
    assert inside["moved copies"].status is Status.FAIL
    assert inside["beyond eps"].status is Status.FAIL
    further = found(remembering(model, 0.15), honest=model)
    assert further["moved copies"].status is Status.FAIL
    assert further["beyond eps"].status is Status.PASS
    for eps in ("1/10", "1/40", "1/100"):
        honest = found(model, eps=eps)
        assert honest["moved copies"].status is honest["beyond eps"].status is Status.PASS


def test_a_fresh_copy_is_asked_the_adversarial_images_first():
    model = network()
    fails = found(FirstLabel(model), honest=model)["state"]
    assert fails.status is Status.FAIL
    assert "fresh copy" in fails.meaning
    shared = FirstLabel(model)
    shared.seen = Seen()  # a copy of the model has the same list
    assert found(shared, honest=model, again=lambda: FirstLabel(model))["state"].status is Status.FAIL


class Seen(list):
    def __deepcopy__(self, memo):
        return self


def test_moved_copies_are_other_images_and_the_same_again():
    own = batch(network())
    images = moved(3, own)
    assert torch.equal(images, moved(3, own))
    assert images.shape == own.images.shape
    assert float(images.min()) >= 0
    assert float(images.max()) <= 1
    assert bool(((images - own.images).flatten(1).abs().amax(1) > 0.02).all())


class ByAttributes(nn.Module):
    """A random one of its children in each call."""

    def __init__(self, one, other):
        super().__init__()
        self.left, self.right = one, other

    def forward(self, x):
        return (self.left if torch.rand(()) < 0.5 else self.right)(x)


class ByList(nn.Module):
    """A random one for each image, from a plain list."""

    def __init__(self, *models):
        super().__init__()
        self.kept = list(models)

    def forward(self, x):
        each = torch.stack([m(x) for m in self.kept], 1)
        return each[torch.arange(len(x)), torch.randint(0, len(self.kept), (len(x),))]


def by_closure(*models):
    def draw(_, x):
        each = torch.stack([m(x) for m in models], 1)
        return each[torch.arange(len(x)), torch.randint(0, len(models), (len(x),))]

    return Function(nn.Identity(), draw)


@pytest.mark.parametrize("make", [ByAttributes, ByList, by_closure])
@pytest.mark.parametrize("wrap", [lambda m: m, lambda m: nn.Sequential(nn.Identity(), m)])
def test_random_members_are_found_whatever_holds_them(make, wrap):
    torch.manual_seed(0)
    one, other = network(0), network(1)
    images = batch(one).images
    drawn = find_drawn(wrap(make(one, other)), images)
    assert drawn is not None
    assert {id(m) for m in drawn[1]} == {id(one), id(other)}
    assert find_drawn(wrap(make(one, one)), images) is None
    assert find_drawn(one, images) is None


def test_answers_from_a_small_set_are_named():
    model = ByList(network(0), network(1))
    said = found(model, honest=network(0))
    assert said["repetition"].status is Status.FAIL
    assert "random member" in said["repetition"].meaning
    assert said["ensemble"].status is Status.WARN


def test_a_cut_before_the_network_is_bridged():
    model, images = network(), batch(network()).images
    cut = Function(model, lambda inner, x: inner(x.detach() * 0.9))
    twin = reattached(cut, images)
    labels, rivals = torch.zeros(16, dtype=torch.int64), torch.ones(16, dtype=torch.int64)
    for bridged in (twin, Approximated(cut, network(1))):
        assert torch.allclose(ask(bridged, images), ask(cut, images), atol=1e-5)
        gradient = slope(bridged, images, labels, rivals)[1]
        assert bool(gradient.isfinite().all())
        assert bool((gradient != 0).flatten(1).any(1).all())


@pytest.mark.parametrize(
    ("substitute", "status"),
    [(network(5), Status.PASS), (network(5, hidden=64), Status.FAIL), (network(0), Status.FAIL)],
)
def test_a_substitute_is_compared_with_the_kind_of_its_target(substitute, status):
    base = network(0)
    target = network(3)
    more = {"substitutes": {"adaptive": substitute}, "kin": frozenset({"adaptive"}), "base": base, "keyed": True}
    said = found(target, **more)
    assert said["family (adaptive)"].status is status
    assert "family (adaptive)" not in found(target, **{**more, "kin": frozenset()})


def test_several_substitutes_of_the_kind_are_of_the_kind():
    both = ByList(network(5), network(6))
    both.members = nn.ModuleList(both.kept)
    said = found(network(3), substitutes={"adaptive": both}, kin=frozenset({"adaptive"}))
    assert said["family (adaptive)"].status is Status.PASS


def test_adaptive_attacks_decide_by_how_far_they_lower_the_figure():
    def answer(before, after, images):
        return Answer("jumps", "an attack", before, after, images, "")

    assert judged([]) == []
    assert judged([answer(0.9, 0.85, 64)])[0].status is Status.PASS
    (one,) = judged([answer(0.9, 0.9, 64), answer(0.9, 0.68, 64)])
    assert one.status is Status.FAIL
    assert "from 90% to 68%" in one.meaning


def test_a_looked_up_answer_is_not_called_rescaled():
    model = network()
    own, rows = batch(model), torch.randn(16, 5, generator=torch.Generator().manual_seed(0))

    def look_up(inner, x):
        which = torch.cdist(x.detach().flatten(1).clamp(0, 1), own.images.flatten(1)).argmin(1)
        return rows[which] + 0 * inner(x)

    meaning = found(Function(model, look_up), honest=model)["range"].meaning
    assert "looked up" in meaning
    rescaling = Function(model, lambda inner, x: inner(x / x.amax((1, 2, 3), keepdim=True)))
    assert "silently rescaled" in found(rescaling)["range"].meaning


def test_half_precision_does_not_jump():
    model = network()

    def half(inner, x):
        with torch.autocast("cpu", torch.bfloat16):
            return inner(x)

    said = found(Function(model, half))
    assert [f for f in said.values() if f.status is Status.FAIL] == []


def test_a_gradient_that_turns_around_near_the_boundary_does_not_describe_the_model():
    def turn(inner, x):
        out = inner(x)
        top = out.detach().topk(2, dim=1).values
        return torch.where(((top[:, 0] - top[:, 1]) < 0.5)[:, None], 2 * out.detach() - out, out)

    rise = found(Function(network(), turn))["rise"]
    assert rise.status is Status.FAIL
    assert "does not describe" in rise.meaning

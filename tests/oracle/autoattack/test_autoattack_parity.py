"""Per-image verdicts against the official package at batch size 1 with the same seeds."""

from __future__ import annotations

import pytest
import torch

from bench.attacks.autoattack.conduct import Conduct
from bench.attacks.autoattack.losses import margin
from bench.attacks.autoattack.sequence import collected, run_sequence
from bench.attacks.autoattack.types import Finished
from bench.attacks.autoattack.versions import LENGTHS, SEQUENCES, Lengths, build
from bench.core.budget import Norm
from tests.oracle.autoattack import zoo

RADII = {
    ("vit", Norm.LINF): 0.02,
    ("vit", Norm.L2): 0.2,
    ("cnn", Norm.LINF): 0.04,
    ("cnn", Norm.L2): 0.7,
    ("robust", Norm.LINF): 0.12,
    ("robust", Norm.L2): 1.2,
}
SMALL = Lengths(iterations=30, queries=250, targets=3, restarts=2)


def compare(model_name: str, norm: Norm, names: list[str], effort: Lengths, count: int) -> None:
    model, budget = zoo.zoo(model_name), zoo.radius(norm, RADII[model_name, norm])
    images, results = zoo.batch(count), list[Finished]()
    run_sequence(build(names, budget, effort), model, [images], zoo.seed, Conduct(32), results.append)
    ours, theirs = collected(images, results), zoo.official_alone(names, model, budget, effort, images)
    assert len(results) == count
    a, b = zoo.fooled(model, ours, images.labels), zoo.fooled(model, theirs, images.labels)
    with torch.no_grad():
        margins = [margin(model(x), images.labels) for x in (ours, theirs)]
    shares = [100 * float((~fooled).float().mean()) for fooled in (a, b)]
    flips = [(images.ids[i], [float(m[i]) for m in margins]) for i in (a != b).nonzero().flatten().tolist()]
    what = f"{model_name} {norm} {'+'.join(names)}"
    print(f"{what}: robust {shares[0]:.1f}% (engine) {shares[1]:.1f}% (official), flips {flips}")
    assert len(flips) <= count // 100, f"{what}: flips {flips}"
    assert int((~a).sum()) - int((~b).sum()) <= count / 200


@pytest.mark.parametrize("attack", ["apgd-ce", "apgd-dlr", "apgd-t", "fab", "fab-t", "square"])
@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
def test_each_attack_equals_the_official_one(attack: str, norm: Norm) -> None:
    compare("robust", norm, [attack], SMALL, 16)


@pytest.mark.slow
@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
@pytest.mark.parametrize("model", ["vit", "cnn", "robust"])
@pytest.mark.parametrize("attack", ["apgd-ce", "apgd-t", "fab-t", "square"])
def test_each_attack_on_many_images(model: str, norm: Norm, attack: str) -> None:
    compare(model, norm, [attack], SMALL, 200)


@pytest.mark.slow
@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
@pytest.mark.parametrize("model", ["vit", "cnn", "robust"])
def test_standard_sequence_on_many_images(model: str, norm: Norm) -> None:
    compare(model, norm, list(SEQUENCES["standard"]), SMALL, 200)


@pytest.mark.slow
@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
@pytest.mark.parametrize("model", ["vit", "cnn", "robust"])
def test_standard_attack_at_full_effort(model: str, norm: Norm) -> None:
    """100 iterations, 9 targets, 5,000 queries; ten to thirty minutes each, nearly all of it the official package's."""
    compare(model, norm, list(SEQUENCES["standard"]), Lengths(), 200)


def test_first_point_and_last_point_are_the_official_ones() -> None:
    """Mode budget returns the official candidate itself, not only its verdict."""
    model, budget = zoo.zoo("robust"), zoo.radius(Norm.LINF, 0.12)
    images, results = zoo.batch(12), list[Finished]()
    effort = Lengths(iterations=15)
    conduct = Conduct(32, keep="last")
    run_sequence(build(["apgd-ce"], budget, effort), model, [images], zoo.seed, conduct, results.append)
    theirs = zoo.official_alone(["apgd-ce"], model, budget, effort, images)
    close = (collected(images, results) - theirs).abs().flatten(1).amax(1) < 1e-4
    assert int(close.sum()) >= 11


def test_versions_are_the_official_sequences() -> None:
    assert SEQUENCES["standard"] == ("apgd-ce", "apgd-t", "fab-t", "square")
    assert LENGTHS == {"plus": {"restarts": 5}, "rand": {"samples": 20}}

"""The measurements of the key study on planted models, of which the truth is known."""

import pytest
import torch

from bench.core.blocks import Shuffle, to_blocks, to_images
from bench.core.budget import Budget
from bench.core.key import Key
from bench.core.nouns import Batch
from bench.core.plugins import Storage
from bench.core.profile import load_profile
from bench.core.progress import Silent
from bench.core.registry import registry
from bench.models.classifier import Classifier, backbone, freeze
from bench.studies.keystudy.distance import by_distance, exchanged
from bench.studies.keystudy.gradients import ComparedModel, averaged, cosines, first_layers
from bench.studies.keystudy.pictures import Pictures, channels_alike
from bench.studies.keystudy.search import Case, climb

PROFILE = load_profile("digits")
HALF = (0.5, 0.5, 0.5)


@pytest.mark.parametrize("exchanges", [0, 1, 2, 7, 16, 31])
def test_so_many_exchanges_and_no_fewer(exchanges):
    """A permutation is n less its cycles exchanges away from the identity."""
    order = exchanged(32, exchanges, torch.Generator().manual_seed(exchanges)).tolist()
    assert sorted(order) == list(range(32))
    left, cycles = set(range(32)), 0
    while left:
        cycles, at = cycles + 1, left.pop()
        while order[at] in left:
            at = order[at]
            left.discard(at)
    assert 32 - cycles == exchanges


def twin(order: list[int], seed: int = 0) -> tuple[Classifier, Classifier]:
    """A model, and the same function of plain pixels made of a shuffle and a first layer that expects it."""
    plain, keyed = (freeze(Classifier(backbone(PROFILE.base, 10, seed), HALF, HALF)) for _ in range(2))
    weight = keyed.network.patch_embed.proj.weight
    with torch.no_grad():
        weight.copy_(to_images(to_blocks(weight, 4)[..., order], 4))
    keyed.transform = Shuffle(4, order)
    return plain, keyed


@pytest.fixture
def pictures(home):
    storage = Storage(None, PROFILE.image_shape, PROFILE.preprocessing, 1, home / "indexes")
    split = registry("datasets").make("digits").split("test", storage)
    return Pictures(split, range(30), 16, "cpu")


def test_gradients_are_compared_behind_the_transform(pictures):
    """A key that the first layer undoes changes nothing in pixel space."""
    plain, keyed = twin(Key.from_seed(0, "test").permutation("twin", 48))
    other = freeze(Classifier(backbone(PROFILE.base, 10, 1), HALF, HALF))
    subjects = {
        "device 0": ComparedModel(keyed, "device"),
        "base": ComparedModel(plain, "base"),
        "free": ComparedModel(other, "key-free"),
    }
    found = cosines(subjects, pictures, Budget.parse("linf:0.1"), 0, Silent())
    mean = {(c.kind, c.loss): c.mean for c in found}
    for loss in ("margin", "cross-entropy"):
        assert mean["device and base", loss] == pytest.approx(1, abs=1e-5)
        assert abs(mean["device and key-free substitute", loss]) < 0.3
        assert abs(mean["random direction", loss]) < 0.05
    assert {c.images for c in found if c.kind != "itself, another image"} == {30}
    assert {c.images for c in found if c.kind == "itself, another image"} == {8 + 7}  # halves of 16 and of 14
    layers = {layer.kind: layer for layer in first_layers(subjects, pictures.alike, [])}
    assert layers["device and base"].whole == pytest.approx(1)
    assert abs(layers["device and key-free substitute"].whole) < 0.1


def test_channels_that_are_equal_in_the_data_are_averaged(pictures):
    assert pictures.alike == [0, 0, 0]  # grey digits
    images = torch.rand(2, 3, 4, 4)
    assert channels_alike(images) == [0, 1, 2]
    images[:, 2] = images[:, 0]
    assert channels_alike(images) == [0, 1, 0]
    mixed = averaged(images, [0, 1, 1])
    torch.testing.assert_close(mixed[:, 0], images[:, 0])
    torch.testing.assert_close(mixed[:, 1], (images[:, 1] + images[:, 2]) / 2)
    torch.testing.assert_close(mixed[:, 2], mixed[:, 1])


def test_the_models_own_order_is_left_alone(pictures):
    _, keyed = twin(list(range(47, -1, -1)))
    before = keyed.transform.order.clone()
    by_distance(keyed, pictures, 1, 0, Silent())
    assert torch.equal(keyed.transform.order, before)


def test_estimation_is_measured_against_the_truth(pictures):
    order = Key.from_seed(7, "test").permutation("twin", 48)
    plain, keyed = twin(order)
    leaked = freeze(Classifier(keyed.network, HALF, HALF))
    batch = next(iter(pictures))
    with torch.no_grad():
        batch = Batch(batch.ids, batch.images, (plain(batch.images).argmax(1) + 1) % 10)  # never all right
    case = Case(leaked, plain, keyed.transform, batch, pictures)
    right = case.guess("assignment", 0, torch.tensor(order))
    assert (right.entries, right.positions) == (1.0, 1.0)
    assert right.accuracy == pictures.accuracy(plain)
    colours = torch.tensor(order).view(16, 3).flip(1).flatten()  # right but for the order of equal channels
    place = torch.tensor(order) // 3 == colours // 3
    other = case.guess("assignment", 0, colours)
    assert other.entries < 0.5
    assert other.positions == pytest.approx(float(place.double().mean()))

    start = torch.arange(48)
    spent = []
    for aim in ("cross-entropy", "accuracy"):
        walk = list(climb(case, start, aim, 32, 0, lambda n=1: spent.append(n)))
        assert [guesses for guesses, _ in walk] == [2, 8, 32]
        assert all(sorted(found.tolist()) == list(range(48)) for _, found in walk)
    assert sum(spent) == 64

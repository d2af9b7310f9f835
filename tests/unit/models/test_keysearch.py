"""The order of a shuffle, found in planted networks whose first layer has moved as a key would move it."""

import pytest
import torch
import torch.nn.functional as F

from bench.core.blocks import Shuffle, to_blocks, to_images
from bench.core.key import Key
from bench.core.nouns import Batch
from bench.core.profile import load_profile
from bench.core.progress import Silent
from bench.models.classifier import Classifier, backbone, freeze
from bench.models.keysearch import assigned, search_order

PROFILE = load_profile("digits")
HALF = (0.5, 0.5, 0.5)


def base(seed: int = 0) -> Classifier:
    return freeze(Classifier(backbone(PROFILE.base, 10, seed), HALF, HALF))


def planted(order: list[int], block: int, *, kept: float, moved: float, noise: float = 0.0) -> Classifier:
    """Column k of the first layer is ``kept`` of the base's column k and ``moved`` of its column v_k."""
    model = base()
    weight = model.network.patch_embed.proj.weight
    columns = to_blocks(weight, block)
    mixed = to_images(kept * columns + moved * columns[..., order], block)
    away = torch.randn(mixed.shape, generator=torch.Generator().manual_seed(1)) * weight.std() * noise
    with torch.no_grad():
        weight.copy_(mixed + away)
    return model


def labelled(model: Classifier, n: int = 64) -> Batch:
    images = torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        labels = model(images).argmax(1)
    return Batch(tuple(map(str, range(n))), images, labels)


@pytest.mark.parametrize("block", [2, 4, 8])
def test_the_assignment_finds_the_order_that_the_weights_moved_to(block):
    n = 3 * block**2
    order = Key.from_seed(1, "test").permutation("planted", n)
    # P = 8: columns of 64 values, 192 of them, are less far apart than those of smaller blocks
    moved = planted(order, block, kept=1.0, moved=0.3, noise=0.02 if block == 8 else 0.1)
    assert assigned(moved, base(), block).tolist() == order


def test_weights_that_moved_anywhere_give_no_order_away():
    order = Key.from_seed(1, "test").permutation("planted", 48)
    found = assigned(planted(order, 4, kept=1.0, moved=0.0, noise=1.0), base(), 4)
    assert sorted(found.tolist()) == list(range(48))
    assert (found == torch.tensor(order)).sum() < 8


def test_the_search_keeps_an_order_that_is_right():
    """Columns that have moved all the way make the base behind its key: nothing is wrong, so nothing is tried."""
    original = base()
    batch = labelled(original)
    order = Key.from_seed(3, "test").permutation("planted", 48)
    leaked = planted(order, 4, kept=0.0, moved=1.0)
    assert (leaked(batch.images) - original(batch.images)).abs().max() > 1e-3
    found = search_order(leaked, original, 4, batch, passes=2, seed=0, progress=Silent())
    assert found.transform.order.tolist() == order
    torch.testing.assert_close(found(batch.images), original(batch.images))


def test_the_climb_never_leaves_the_batch_worse_than_the_assignment():
    original = base()
    batch = labelled(original)
    order = Key.from_seed(4, "test").permutation("planted", 12)
    leaked = planted(order, 2, kept=0.0, moved=1.0, noise=25.0)  # so much that the assignment is wrong

    def loss(passes: int) -> tuple[list[int], float]:
        mine = planted(order, 2, kept=0.0, moved=1.0, noise=25.0)
        found = search_order(mine, original, 2, batch, passes=passes, seed=0, progress=Silent())
        assert isinstance(found.transform, Shuffle)
        return found.transform.order.tolist(), float(F.cross_entropy(found(batch.images), batch.labels))

    assert assigned(leaked, original, 2).tolist() != order
    (start, before), (end, after) = loss(0), loss(2)
    assert start != end
    assert after < before
    assert sorted(end) == list(range(12))

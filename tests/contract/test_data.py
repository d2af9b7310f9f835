"""Contract of every registered data set."""

import pytest
import torch

from bench.core.registry import registry

NAMES = registry("datasets").names()


@pytest.mark.parametrize("name", NAMES)
def test_splits_are_fixed_apart_and_well_formed(name):
    train, test = (registry("datasets").make(name).split(s) for s in ("train", "test"))
    again = registry("datasets").make(name).split("test")
    assert not set(train.ids) & set(test.ids)
    assert len(set(test.ids)) == len(test.ids)
    assert (again.ids, again.digest()) == (test.ids, test.digest())
    batch = test.read([3, 1])
    assert batch.ids == (test.ids[3], test.ids[1])
    assert batch.images.dtype == torch.float32
    assert ((batch.images >= 0) & (batch.images <= 1)).all()
    assert torch.equal(batch.images[1:], test.read([1]).images)


def test_digits_are_scikit_learns_own():
    from sklearn.datasets import load_digits

    raw = load_digits()
    split = registry("datasets").make("digits").split("test")
    train = registry("datasets").make("digits").split("train")
    assert (len(split.ids), len(train.ids)) == (500, 1297)
    batch = split.read(range(500))
    for image_id, image, label in zip(batch.ids, batch.images, batch.labels, strict=True):
        position = int(image_id.removeprefix("digits-"))
        assert label == raw.target[position]
        # the mean survives bilinear enlargement by 4 but for the rim
        assert abs(image.mean().item() - raw.images[position].mean() / 16) < 0.02

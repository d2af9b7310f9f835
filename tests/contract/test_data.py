"""Contract of every registered data set."""

import pickle

import pytest
import torch

from bench.core.errors import InputError, UnknownNameError
from bench.core.plugins import Storage
from bench.core.preprocessing import preset
from bench.core.profile import Augmentation
from bench.core.registry import registry
from tests.makers import MAKERS

NAMES = registry("datasets").names()


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """Data set and storage by name, small data made for those that need a folder."""
    made = {}

    def open_(name: str):
        if name not in made:
            dataset, root, shape, chosen = registry("datasets").make(name), None, (3, 32, 32), "none"
            if dataset.needs_root:
                maker, shape, chosen = MAKERS[name]
                root = maker(tmp_path_factory.mktemp(name))
            how = preset(chosen, side=shape[-1], crop_share=0.9, interpolation="bicubic")
            made[name] = (dataset, Storage(root, shape, how, workers=2))
        return made[name]

    return open_


@pytest.mark.parametrize("name", NAMES)
def test_splits_are_fixed_apart_and_well_formed(name, opened):
    dataset, storage = opened(name)
    train, test = (dataset.split(s, storage) for s in ("train", "test"))
    again = dataset.split("test", storage)
    assert not set(train.ids) & set(test.ids)
    assert len(set(test.ids)) == len(test.ids) == len(test.labels)
    assert (again.ids, again.labels, again.digest()) == (test.ids, test.labels, test.digest())
    assert train.digest() != test.digest()
    assert all(isinstance(line, str) and "\n" not in line for line in test.problems())
    batch = test.read([3, 1])
    assert batch.ids == (test.ids[3], test.ids[1])
    assert batch.labels.tolist() == [test.labels[3], test.labels[1]]
    assert batch.images.dtype == torch.float32
    assert batch.images.shape == (2, *storage.image_shape)
    assert ((batch.images >= 0) & (batch.images <= 1)).all()
    assert torch.equal(batch.images[1:], test.read([1]).images)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("how", [Augmentation(), Augmentation(crop=(0.2, 1.0), flip=0.5)], ids=["plain", "crop"])
def test_what_is_drawn_belongs_to_image_and_seed(name, how, opened):
    dataset, storage = opened(name)
    split = dataset.split("train", storage)
    images, labels = split.draw([2, 0, 1], [7, 8, 9], how)
    assert images.shape == (3, *storage.image_shape)
    assert images.dtype in (torch.uint8, torch.float32)
    assert labels.dtype == torch.int64
    assert labels.tolist() == [split.labels[i] for i in (2, 0, 1)]
    alone, _ = pickle.loads(pickle.dumps(split)).draw([0], [8], how)
    assert torch.equal(alone[0], images[1])


@pytest.mark.parametrize("name", NAMES)
def test_a_split_that_is_not_there_is_refused(name, opened):
    dataset, storage = opened(name)
    with pytest.raises(UnknownNameError, match=r"no split 'validation'; expected train or test"):
        dataset.split("validation", storage)


@pytest.mark.parametrize("name", [n for n in NAMES if registry("datasets").load(n).needs_root])
def test_a_data_set_that_needs_images_says_what_it_was_given(name, tmp_path):
    dataset, how = registry("datasets").make(name), preset("none", side=1, crop_share=1, interpolation="bicubic")

    def refused(root) -> str:
        with pytest.raises(InputError) as error:
            dataset.split("test", Storage(root, (3, 32, 32), how))
        assert "\n" not in str(error.value)
        return str(error.value)

    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    assert "expected --data FOLDER (or BENCH_DATA" in refused(None)
    assert "does not exist; expected" in refused(tmp_path / "nowhere")
    assert "is a file; expected" in refused(tmp_path / "file")
    assert "check --data" in refused(tmp_path / "empty")


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

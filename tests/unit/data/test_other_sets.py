"""Tiny ImageNet, CIFAR-10, folders of one's own, and the profiles that name them."""

import numpy as np
import pytest
import torch
from PIL import Image

from bench.core.errors import InputError
from bench.core.profile import load_profile
from bench.core.registry import registry
from bench.data.cifar10 import Cifar10
from bench.data.image_folder import ImageFolder
from bench.data.tiny_imagenet import TinyImageNet
from tests import makers
from tests.makers import store


def test_tiny_imagenet_from_its_folder_or_the_one_above(tmp_path):
    root = makers.tiny_imagenet(tmp_path)
    test = TinyImageNet().split("test", store(root, "none", 64))
    inside = TinyImageNet().split("test", store(root / "tiny-imagenet-200", "none", 64))
    assert test.digest() == inside.digest()
    assert test.ids[:2] == ("val_0", "val_1")
    wnids = (root / "tiny-imagenet-200/wnids.txt").read_text().split()
    assert list(test.labels) == [sorted(wnids).index(wnids[i % 4]) for i in range(8)]
    train = TinyImageNet().split("train", store(root, "none", 64))
    assert [i.split("_")[0] for i in train.ids] == [sorted(wnids)[label] for label in train.labels]
    assert train.problems()[0] == "8 images; expected 100,000"
    assert test.problems()[1] == f"class {sorted(wnids)[0]} has 2 images; expected 50"


def test_tiny_imagenet_that_is_not_whole_is_refused(tmp_path):
    folder = makers.tiny_imagenet(tmp_path) / "tiny-imagenet-200"
    annotations = folder / "val/val_annotations.txt"
    annotations.write_text("".join(annotations.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(InputError, match=r"says nothing for val_0.JPEG; expected a synset of wnids.txt"):
        TinyImageNet().split("test", store(tmp_path, "none", 64))
    annotations.unlink()
    with pytest.raises(InputError, match=r"val_annotations.txt cannot be read"):
        TinyImageNet().split("test", store(tmp_path, "none", 64))
    (folder / "train/n00000000").mkdir()
    with pytest.raises(InputError, match=r"n00000000 is not a class; expected synsets of wnids.txt"):
        TinyImageNet().split("train", store(tmp_path, "none", 64))


def cifar(root, name="test"):
    return Cifar10().split(name, store(root, "none", 32))


def test_cifar10_is_the_same_in_every_form(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR10

    pixels, labels = makers.cifar10_arrays()
    binary = cifar(makers.cifar10_binary(tmp_path / "a"))
    sums = makers.cifar10_python(tmp_path / "b")
    for part in ("train_list", "test_list"):
        monkeypatch.setattr(CIFAR10, part, [[name, sums[name]] for name, _ in getattr(CIFAR10, part)])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": sums["batches.meta"]})
    makers.cifar10_parquet(tmp_path / "c")
    for split in (binary, cifar(tmp_path / "b"), cifar(tmp_path / "b/cifar-10-batches-py"), cifar(tmp_path / "c")):
        assert split.ids == tuple(f"test-{i:05d}" for i in range(6))
        assert list(split.labels) == labels
        assert split.digest() == binary.digest()
        images = split.read(range(6)).images
        assert torch.equal(images, torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(255))
    assert cifar(tmp_path / "b", "train").digest() == cifar(tmp_path / "a", "train").digest()
    assert cifar(tmp_path / "a", "train").ids[-1] == "train-00029"
    assert binary.problems()[0] == "6 images; expected 10,000"


def test_cifar10s_digest_is_of_its_pixels_too(tmp_path):
    before = cifar(makers.cifar10_binary(tmp_path)).digest()
    path = tmp_path / "cifar-10-batches-bin/test_batch.bin"
    data = np.fromfile(path, np.uint8)
    data[1000] ^= 1
    data.tofile(path)
    assert cifar(tmp_path).digest() != before


def test_cifar10_that_is_damaged_is_refused(tmp_path):
    makers.cifar10_python(tmp_path / "a")  # not the published files
    with pytest.raises(InputError, match=r"cifar-10-batches-py is not as published: .*; unpack it again"):
        cifar(tmp_path / "a")
    path = makers.cifar10_binary(tmp_path / "b") / "cifar-10-batches-bin/test_batch.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"has 18437 bytes; expected a multiple of 3073"):
        cifar(tmp_path / "b")
    path.unlink()
    with pytest.raises(InputError, match=r"test_batch.bin cannot be read: no such file"):
        cifar(tmp_path / "b")


def test_folders_of_ones_own(tmp_path):
    split = ImageFolder().split("test", store(makers.image_folder(tmp_path), side=48))
    assert split.ids == ("cat/deep/val0", "cat/val1", "cat/val2", "dog/deep/val0", "dog/val1", "dog/val2")
    assert list(split.labels) == [0, 0, 0, 1, 1, 1]
    assert split.problems() == []
    assert split.read([0]).images.shape == (1, 3, 48, 48)


def test_folders_of_ones_own_with_other_classes_in_each_split_are_refused(tmp_path):
    makers.image_folder(tmp_path)
    (tmp_path / "val/emu").mkdir()
    with pytest.raises(InputError, match=r"class emu is in one of .*val and .*train only; expected the same folders"):
        ImageFolder().split("test", store(tmp_path, side=48))
    (tmp_path / "train/emu").mkdir()
    assert ImageFolder().split("test", store(tmp_path, side=48)).problems() == [
        "class emu has no images; expected some"
    ]


def test_the_same_name_with_two_suffixes_is_refused(tmp_path):
    makers.image_folder(tmp_path)
    (tmp_path / "val/cat/val1.jpg").write_bytes((tmp_path / "val/cat/val1.png").read_bytes())
    with pytest.raises(InputError, match=r"image cat/val1 appears twice"):
        ImageFolder().split("test", store(tmp_path, side=48))


def test_every_suffix_is_taken(tmp_path):
    for i, kind in enumerate(("JPEG", "jpg", "png", "BMP", "webp")):
        path = tmp_path / "test/a" / f"{i}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(path, {"jpg": "JPEG"}.get(kind, kind.upper()))
    (tmp_path / "test/a/notes.txt").write_text("no image")
    (tmp_path / "test/a/._0.jpg").write_bytes(b"of another system")
    split = ImageFolder().split("test", store(tmp_path, "none", 8))
    assert split.read(range(5)).images.shape == (5, 3, 8, 8)
    assert len(split.ids) == 5


@pytest.mark.parametrize("name", ["tiny-imagenet", "cifar10", "image-folder"])
def test_profiles_load_and_name_their_data(name):
    profile = load_profile(name)
    assert profile.dataset in registry("datasets").names()
    assert profile.image_shape[0] == 3
    assert load_profile(name, {"classes": 7}).classes == 7


def test_the_profiles_models_have_their_shape():
    from bench.models.classifier import backbone

    for name in ("cifar10", "tiny-imagenet"):
        profile = load_profile(name)
        model = backbone(profile.base, profile.classes, 0).eval()
        with torch.no_grad():
            assert model(torch.zeros(1, *profile.image_shape)).shape == (1, profile.classes)


def test_a_file_object_is_not_left_open(tmp_path):
    """ResourceWarning is an error here, so a leak would be seen."""
    import gc

    root = makers.image_folder(tmp_path)
    ImageFolder().split("test", store(root, side=48)).read([0])
    gc.collect()


def test_a_whole_split_has_no_problems_and_too_many_is_one():
    from bench.data.readers.makeup import census

    whole = [label for label in range(4) for _ in range(50)]
    assert census(whole, 4, "abcd".__getitem__, total=200, per_class=50) == []
    assert census(whole, 4, "abcd".__getitem__, total=200, per_class=(40, 60)) == []
    assert census([*whole, 2], 4, "abcd".__getitem__, total=200, per_class=50) == [
        "201 images; expected 200",
        "class c has 51 images; expected 50",
    ]
    assert census(whole[1:], 4, "abcd".__getitem__) == []

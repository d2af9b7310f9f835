"""Presets against the libraries that name them; the random crop against torchvision's."""

import io
import math
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from bench.core.errors import InputError, UnreadableImageError
from bench.core.plugins import Storage
from bench.core.preprocessing import preset
from bench.core.profile import Augmentation
from bench.data.imagenet import ImageNet
from bench.data.readers.pixels import decode, fit, vary
from bench.models.pretrained import timm_base
from bench.models.zoo_import import import_robustbench
from tests import makers
from tests.makers import encode, noise, store

SIZES = [(500, 375), (375, 500), (301, 777), (224, 224), (100, 90), (1200, 260), (253, 254), (288, 225)]


def as_tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div(255)


@pytest.mark.parametrize("size", SIZES)
def test_timm_eval_is_what_timm_does_for_the_vit(size):
    import timm.data
    from timm.models import get_pretrained_cfg

    config = timm.data.resolve_data_config(
        pretrained_cfg=get_pretrained_cfg("vit_base_patch16_224.augreg2_in21k_ft_in1k").to_dict()
    )
    transform = timm.data.create_transform(**config, normalize=False)
    how = preset("timm-eval", side=224, crop_share=config["crop_pct"], interpolation=config["interpolation"])
    assert (how.resize, how.crop) == (248, 224)
    image = noise(*size, seed=1, cells=40)
    assert torch.equal(as_tensor(fit(image, how)), transform(image).float().div(255))


def timm_ways():
    """Every way in which timm's weights are evaluated, at their own size and at the one for tests, with one name."""
    import timm

    found = {}
    for name in timm.list_pretrained():
        cfg = timm.models.get_pretrained_cfg(name)
        if cfg.tag and cfg.interpolation in ("bilinear", "bicubic") and cfg.num_classes > 1:  # not of other packages
            for size in {cfg.input_size, cfg.test_input_size or cfg.input_size}:
                share = (size == cfg.test_input_size and cfg.test_crop_pct) or cfg.crop_pct
                if size[1] == size[2] <= 320:
                    found.setdefault((cfg.crop_mode, cfg.interpolation, share, size), name)
    return found


def test_every_way_of_timm_gives_timms_pixels():
    import timm.data
    from timm.models import get_pretrained_cfg

    ways = timm_ways()
    assert {mode for mode, *_ in ways} >= {"center", "squash"}
    assert len(ways) > 30
    images = [noise(*size, seed=3, cells=40) for size in ((301, 257), (180, 333))]
    for (_, _, _, size), name in ways.items():
        cfg = get_pretrained_cfg(name)
        config = timm.data.resolve_data_config(pretrained_cfg=cfg.to_dict(), use_test_size=size == cfg.test_input_size)
        transform = timm.data.create_transform(**config, normalize=False)
        fields = timm_base(name, size[-1])
        how = preset(
            "timm-eval", side=size[-1], **{k: fields[k] for k in ("crop_share", "interpolation", "crop_mode", "mean")}
        )
        for image in images:
            assert torch.equal(as_tensor(fit(image, how)), transform(image).float().div(255)), (name, size)


@pytest.mark.parametrize("size", [(500, 375), (301, 777), (100, 90), (1200, 260), (253, 254)])
@pytest.mark.parametrize("share", [1.0, 0.9])
def test_a_border_is_timms(size, share):
    import timm.data

    mean = (0.485, 0.456, 0.406)
    config = {"input_size": (3, 224, 224), "crop_pct": share, "crop_mode": "border", "interpolation": "bicubic"}
    transform = timm.data.create_transform(**config, mean=mean, normalize=False)
    how = preset("timm-eval", side=224, crop_share=share, interpolation="bicubic", crop_mode="border", mean=mean)
    image = noise(*size, seed=4, cells=40)
    assert torch.equal(as_tensor(fit(image, how)), transform(image).float().div(255))


@pytest.fixture(scope="module")
def robustbench_presets():
    return import_robustbench("robustbench.data").PREPROCESSINGS


@pytest.mark.parametrize("size", SIZES)
def test_robustbenchs_presets_are_robustbenchs(robustbench_presets, size):
    image = noise(*size, seed=2, cells=40)
    for name, theirs in robustbench_presets.items():
        how = preset(name or "none", side=224, crop_share=1.0, interpolation="bicubic")
        assert torch.equal(as_tensor(fit(image, how)), theirs(image)), name


@pytest.mark.parametrize("name", ["Res224", "resize-224", "BicubicRes256Crop224"])
def test_the_others_are_torchvisions(name):
    from torchvision import transforms as tv

    bilinear, bicubic = tv.InterpolationMode.BILINEAR, tv.InterpolationMode.BICUBIC
    theirs = {
        "Res224": tv.Resize((224, 224), bilinear),
        "resize-224": tv.Resize((224, 224), bicubic),
        "BicubicRes256Crop224": tv.Compose([tv.Resize(256, bicubic), tv.CenterCrop(224)]),
    }[name]
    how = preset(name, side=224, crop_share=1.0, interpolation="bicubic")
    for size in SIZES:
        image = noise(*size, seed=3, cells=40)
        assert torch.equal(as_tensor(fit(image, how)), as_tensor(theirs(image)))


def test_read_is_decode_and_fit(images, tmp_path):
    split = ImageNet().split("test", store(makers.class_folders(tmp_path / "val", images)))
    batch = split.read([2, 0])
    how = preset("timm-eval", side=224, crop_share=0.9, interpolation="bicubic")
    for image, at in zip(batch.images, (2, 0), strict=True):
        with Image.open(io.BytesIO(images[at].data)) as file:
            assert file.mode == {0: "RGB", 2: "CMYK"}[at]
            assert torch.equal(image, as_tensor(fit(file.convert("RGB"), how)))


def crop(size, how, seed):
    test = preset("none", side=1, crop_share=1, interpolation="bicubic")
    return vary(noise(*size, seed=4, cells=30), how, test, (64, 64), seed)


def test_a_crop_follows_torchvisions_rule(monkeypatch):
    """torchvision's own code, fed the same numbers, cuts the same box."""
    from torchvision.transforms import RandomResizedCrop
    from torchvision.transforms.functional import InterpolationMode, resize

    from bench.data.readers import pixels

    class Lots:
        """torch's empty(1).uniform_ and randint, from our stream."""

        def __init__(self, seed):
            self.stream = pixels._uniform(seed)
            next(self.stream)  # the mirror's

        def uniform_(self, low, high):
            return torch.tensor([low + (high - low) * next(self.stream)], dtype=torch.float64)

        def randint(self, low, high, size):
            return torch.tensor([low + int(next(self.stream) * (high - low))])

    how = Augmentation(crop=(0.08, 1.0))
    for seed in range(20):
        lots = Lots(seed)
        with monkeypatch.context() as patch:
            patch.setattr(torch, "empty", lambda _, lots=lots: lots)
            patch.setattr(torch, "randint", lots.randint)
            i, j, h, w = RandomResizedCrop.get_params(noise(500, 375, 4), [0.08, 1.0], [3 / 4, 4 / 3])
        image = noise(500, 375, seed=4, cells=30).crop((j, i, j + w, i + h))
        theirs = resize(image, [64, 64], InterpolationMode.BICUBIC)
        assert torch.equal(as_tensor(crop((500, 375), how, seed)), as_tensor(theirs))


def test_crops_have_the_asked_area_and_aspect():
    from bench.data.readers import pixels

    shares, ratios = [], []
    for seed in range(2000):
        _, _, w, h = pixels._inception_box((500, 375), (0.25, 1.0), (3 / 4, 4 / 3), pixels._uniform(seed))
        shares.append(w * h / (500 * 375))
        ratios.append(math.log(w / h))
    assert 0.245 < min(shares) < 0.27
    assert 0.95 < max(shares) <= 1
    assert -0.3 < min(ratios) + 0.0 < -0.2
    assert 0.2 < max(ratios) < 0.3


@pytest.mark.parametrize(("size", "box"), [((900, 100), (383, 0, 133, 100)), ((100, 900), (0, 383, 100, 133))])
def test_where_no_crop_fits_the_middle_is_taken(size, box):
    from bench.data.readers import pixels

    assert pixels._inception_box(size, (1.0, 1.0), (3 / 4, 4 / 3), pixels._uniform(0)) == box


def test_half_are_mirrored_and_a_mirror_is_one():
    plain, mirror = (crop((80, 70), Augmentation(flip=p), 0) for p in (0.0, 1.0))
    assert torch.equal(as_tensor(plain).flip(-1), as_tensor(mirror))
    mirrored = sum(
        torch.equal(as_tensor(crop((80, 70), Augmentation(flip=0.5), s)), as_tensor(mirror)) for s in range(200)
    )
    assert 75 < mirrored < 125


@pytest.mark.parametrize("workers", [1, 4])
def test_a_draw_depends_on_its_seed_alone(workers, images, tmp_path):
    split = ImageNet().split("test", store(makers.class_folders(tmp_path / "val", images), workers=workers))
    how = Augmentation(crop=(0.08, 1.0), flip=0.5)
    whole, labels = split.draw(range(12), range(100, 112), how)
    assert whole.dtype == torch.uint8
    assert labels.tolist() == list(split.labels)
    some, _ = split.draw([7, 2], [107, 102], how)
    assert torch.equal(some, whole[[7, 2]])
    assert not torch.equal(split.draw([7], [1], how)[0], whole[7:8])


def test_drawing_without_a_crop_is_reading(images, tmp_path):
    split = ImageNet().split("test", store(makers.class_folders(tmp_path / "val", images)))
    drawn, _ = split.draw([4, 5], [0, 0], Augmentation())
    assert torch.equal(drawn.float().div(255), split.read([4, 5]).images)


class Draws(torch.utils.data.Dataset):
    def __init__(self, split):
        self.split = split

    def __len__(self):
        return 6

    def __getitem__(self, at):
        return self.split.draw([2 * at, 2 * at + 1], [at, at], Augmentation(crop=(0.5, 1.0)))[0]


@pytest.mark.parametrize(
    ("layout", "start"),
    [("folders", "fork"), ("tar", "fork"), ("parquet", "fork"), ("webdataset", "fork"), ("parquet", "spawn")],
)
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_worker_processes_draw_the_same(layout, start, images, tmp_path):
    if layout == "folders":
        makers.class_folders(tmp_path / "val", images)
    elif layout == "tar":
        makers.val_tar(tmp_path, images)
        makers.devkit(tmp_path, images)
    else:
        getattr(makers, layout)(tmp_path, images)
    data = Draws(ImageNet().split("test", store(tmp_path, workers=2)))
    here = [data[i] for i in range(6)]  # threads and handles are open when the workers start
    again = pickle.loads(pickle.dumps(data))
    assert torch.equal(again[3], here[3])
    loader = torch.utils.data.DataLoader(
        data, batch_size=None, num_workers=1 + (start == "fork"), multiprocessing_context=start, collate_fn=None
    )
    assert all(torch.equal(a, b) for a, b in zip(here, loader, strict=True))


def damaged(kind: str, data: bytes) -> bytes:
    return {"truncated": data[: len(data) // 2], "garbage": b"\x00\xffno image" * 50, "empty": b""}[kind]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("truncated", "image file is truncated"), ("garbage", "not an image file"), ("empty", "not an image file")],
)
@pytest.mark.parametrize("layout", ["class_folders", "parquet", "webdataset"])
def test_an_image_that_cannot_be_decoded_is_named(layout, kind, reason, images, tmp_path):
    bad = makers.Photo(images[5].id, images[5].wnid, damaged(kind, images[5].data))
    getattr(makers, layout)(tmp_path, [*images[:5], bad, *images[6:]])
    split = ImageNet().split("test", store(tmp_path, workers=2))
    for call in (lambda: split.read(range(12)), lambda: split.draw([5], [0], Augmentation(crop=(0.1, 1.0)))):
        with pytest.raises(UnreadableImageError, match=rf"image {bad.id} cannot be read \(.*: {reason}") as error:
            call()
        assert error.value.image_id == bad.id
        assert " at 0x" not in str(error.value)
    assert len(split.read([0, 1, 2, 3, 4, 6])) == 6


def test_a_png_with_a_bad_checksum_and_a_file_that_went_away_are_named(images, tmp_path):
    data = encode(noise(50, 50, 0), "PNG")
    path = makers.class_folders(tmp_path, [makers.Photo("a_1", images[0].wnid, data[:60] + b"?" + data[61:])])
    split = ImageNet().split("test", store(path))
    with pytest.raises(UnreadableImageError, match=r"image a_1 cannot be read"):
        split.read([0])
    (path / images[0].wnid / "a_1.JPEG").unlink()
    with pytest.raises(UnreadableImageError, match=r"a_1.JPEG: no such file or directory\)"):
        split.read([0])


def test_images_of_another_shape_are_refused(images, tmp_path):
    root = makers.class_folders(tmp_path, images)
    split = ImageNet().split("test", store(root, "none"))
    with pytest.raises(
        InputError,
        match=r"ILSVRC2012_val_00000001 is 420 x 300 after preprocessing 'none'; expected the profile's 224 x 224",
    ):
        split.read([0])
    how = preset("none", side=224, crop_share=1, interpolation="bicubic")
    with pytest.raises(InputError, match=r"image_shape \[1, 224, 224\] asks for other than RGB"):
        ImageNet().split("test", Storage(root, (1, 224, 224), how))


def test_a_split_is_the_same_after_pickling(images, tmp_path):
    split = ImageNet().split("test", store(makers.class_folders(tmp_path, images), workers=2))
    batch = split.read([1, 2])
    again = pickle.loads(pickle.dumps(split))
    assert (again.ids, again.digest()) == (split.ids, split.digest())
    assert torch.equal(again.read([1, 2]).images, batch.images)


def test_decoding_gives_rgb():
    for mode in ("RGB", "L", "CMYK", "1"):
        assert decode(encode(noise(9, 8, 0).convert(mode), "JPEG" if mode != "1" else "PNG")).mode == "RGB"

"""The same images give the same split, however they lie."""

import tarfile

import pytest
import torch

from bench.core.errors import InputError
from bench.core.profile import Augmentation
from bench.data.imagenet import ImageNet
from tests import makers
from tests.makers import store


def folders(root, images):
    makers.class_folders(root / "val", images)


def itself(root, images):
    makers.class_folders(root, images)


def kit(root, images):
    makers.flat(root / "val", images)
    makers.devkit(root, images)


def kit_archive(root, images):
    makers.flat(root / "val", images)
    makers.devkit(root, images, archive=True)


def flat_itself(root, images):
    makers.flat(root, images)
    makers.devkit(root, images)


def synsets(root, images):
    makers.flat(root / "val", images)
    makers.synset_list(root / "imagenet_2012_validation_synset_labels.txt", images)


def synsets_inside(root, images):
    makers.flat(root / "val", images)
    makers.synset_list(root / "val/synset_labels.txt", images)


def kaggle(root, images):
    makers.flat(root / "ILSVRC/Data/CLS-LOC/val", images)
    makers.kaggle_csv(root, images)


def caffe(root, images):
    makers.flat(root / "val", images)
    makers.caffe_list(root, images)


def suffixed(root, images):
    makers.flat(root / "val", images)
    for image in images:
        path = root / "val" / f"{image.id}.JPEG"
        path.rename(path.with_stem(f"{image.id}_{image.wnid}"))


def tar(root, images):
    makers.val_tar(root, images)
    makers.devkit(root, images)


def parquet(root, images):
    makers.parquet(root / "data", images)


def parquet_above(root, images):
    makers.parquet(root, images, shards=1, group=100)


def webdataset(root, images):
    makers.webdataset(root, images)


LAYOUTS = [folders, itself, kit, kit_archive, flat_itself, synsets, synsets_inside, kaggle, caffe, suffixed, tar]
LAYOUTS += [parquet, parquet_above, webdataset]


@pytest.fixture(scope="module")
def reference(images, tmp_path_factory):
    root = tmp_path_factory.mktemp("reference")
    folders(root, images)
    split = ImageNet().split("test", store(root))
    return split, split.read(range(12))


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__)
def test_every_layout_gives_the_same_split(layout, images, reference, tmp_path):
    layout(tmp_path, images)
    split = ImageNet().split("test", store(tmp_path, workers=3, cache=tmp_path / "cache"))
    assert list(split.ids) == [image.id for image in images]
    assert list(split.labels) == [image.label for image in images]
    assert split.digest() == reference[0].digest()
    assert split.problems() == reference[0].problems()
    batch = split.read(range(12))
    assert torch.equal(batch.images, reference[1].images)
    assert batch.labels.tolist() == [image.label for image in images]
    how = Augmentation(crop=(0.08, 1.0), flip=0.5)
    assert torch.equal(split.draw([3, 1], [5, 6], how)[0], reference[0].draw([3, 1], [5, 6], how)[0])


@pytest.mark.parametrize("place", ["", "ILSVRC/Data/CLS-LOC/val", "ILSVRC/Data/CLS-LOC"])
def test_kaggles_top_is_found_from_any_depth(place, images, reference, tmp_path):
    kaggle(tmp_path, images)
    assert ImageNet().split("test", store(tmp_path / place)).digest() == reference[0].digest()


def train_folders(root, images):
    makers.class_folders(root / "train", images)


def train_parquet(root, images):
    makers.parquet(root / "data", images, split="train")


def train_webdataset(root, images):
    makers.webdataset(root, images, split="train")


@pytest.mark.parametrize("layout", [train_folders, makers.train_tar, train_parquet, train_webdataset])
def test_training_images_too(layout, tmp_path):
    images = sorted(makers.photos(train=True), key=lambda image: image.id)
    layout(tmp_path, images)
    split = ImageNet().split("train", store(tmp_path, cache=tmp_path / "cache"))
    assert list(split.ids) == [image.id for image in images]
    assert list(split.labels) == [image.label for image in images]
    makers.class_folders(tmp_path / "again/train", images)
    same = ImageNet().split("train", store(tmp_path / "again"))
    assert torch.equal(split.read(range(12)).images, same.read(range(12)).images)


def test_the_kit_is_read_as_torchvision_reads_it(images, tmp_path, monkeypatch):
    from torchvision.datasets import imagenet

    monkeypatch.setattr(imagenet, "_verify_archive", lambda *_: None)
    kit_archive(tmp_path, images)
    imagenet.parse_devkit_archive(tmp_path)
    _, wnids = imagenet.load_meta_file(tmp_path)
    assert wnids == [image.wnid for image in images]
    split = ImageNet().split("test", store(tmp_path))
    assert list(split.labels) == [makers.SYNSETS.index(wnid) for wnid in wnids]


def test_a_whole_list_labels_by_number_even_where_an_image_is_missing(images, tmp_path):
    makers.flat(tmp_path / "val", images[4:])
    wnids = [image.wnid for image in images] + ["n01440764"] * (50_000 - 12)
    (tmp_path / "synset_labels.txt").write_text("\n".join(wnids))
    split = ImageNet().split("test", store(tmp_path))
    assert list(split.labels) == [image.label for image in images[4:]]
    assert split.problems()[0] == "8 images; expected 50,000"


def damaged_tar(root, images):
    data = makers.val_tar(root, images).read_bytes()
    (root / "ILSVRC2012_img_val.tar").write_bytes(data[: len(data) // 2])


def damaged_parquet(root, images):
    parquet(root, images)
    path = sorted((root / "data").iterdir())[0]
    path.write_bytes(path.read_bytes()[:-100])


def stray_folder(root, images):
    folders(root, images)
    (root / "val/extras").mkdir()


def no_class_at_all(root, images):
    (root / "val/cats").mkdir(parents=True)


def short_list(root, images):
    makers.flat(root / "val", images)
    makers.synset_list(root / "synset_labels.txt", images[:-1])


def short_kit(root, images):
    makers.flat(root / "val", images)
    makers.devkit(root, images[:-1])


def short_csv(root, images):
    makers.flat(root / "val", images)
    makers.kaggle_csv(root, images[:-2])


def foreign_list(root, images):
    makers.flat(root / "val", images)
    (root / "synset_labels.txt").write_text("cat\n" * 12)


def bad_caffe(root, images):
    makers.flat(root / "val", images)
    (root / "val.txt").write_text("ILSVRC2012_val_00000001.JPEG 1000\n")


def no_labels(root, images):
    makers.flat(root / "val", images)


def broken_kit(root, images):
    kit(root, images)
    (root / makers.DEVKIT / "data/meta.mat").write_bytes(b"nothing of the kind")


def twice(root, images):
    folders(root, images)
    first = images[0]
    (root / "val" / images[1].wnid / f"{first.id}.JPEG").write_bytes(first.data)


def lone_cls(root, images):
    makers.write_tar(root / "x-val-0.tar", {"a/b.cls": b"3"})


def lone_image(root, images):
    makers.write_tar(root / "x-val-0.tar", {"a/b.jpg": images[0].data})


def other_columns(root, images):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"img": [1], "fine_label": [2]}), root / "validation-0.parquet")


def relabelled(root, images):
    first = makers.Photo(images[0].id, images[1].wnid, images[0].data)
    makers.parquet(root, [first])
    import pyarrow.parquet as pq

    path = root / "validation-00000-of-00002.parquet"
    table = pq.read_table(path)
    pq.write_table(table.set_column(1, "label", [[7]]), path)


def foreign_class_tar(root, images):
    makers.write_tar(root / "ILSVRC2012_img_train.tar", {"cats.tar": b""})


REFUSED = [
    (damaged_tar, r"ILSVRC2012_img_val.tar is not a complete tar file: .*; expected it as downloaded"),
    (damaged_parquet, r"is not a complete Parquet file"),
    (stray_folder, r"val/extras is not a class; expected synsets of ImageNet such as n01440764"),
    (no_class_at_all, r"val/cats is not a class"),
    (short_list, r"synset_labels.txt has 11 lines for 12 images; expected one line per image"),
    (short_kit, r"ground_truth.txt has 11 lines for 12 images"),
    (short_csv, r"LOC_val_solution.csv lacks 2 of 12 images, first ILSVRC2012_val_00000011"),
    (foreign_list, r"synset_labels.txt names 'cat'; expected synsets"),
    (bad_caffe, r"val.txt cannot be read: label 1000 of .* is not from 0 to 999"),
    (no_labels, r"no labels next to them; expected one of ILSVRC2012_devkit_t12, .*LOC_val_solution.csv or val.txt"),
    (broken_kit, r"ground_truth.txt cannot be read: .*; expected it as published"),
    (twice, r"image ILSVRC2012_val_00000001 appears twice \(.*\); expected each once"),
    (lone_cls, r"a/b in .* has cls; expected a/b.jpg \(jpeg, png\) and a/b.cls"),
    (lone_image, r"a/b in .* has image; expected"),
    (other_columns, r"has the columns img, fine_label; expected image and label"),
    (relabelled, r"has label 7 in .*; expected \d+ \(n\d{8}\), the position of its synset in sorted order"),
]


@pytest.mark.parametrize(("layout", "words"), REFUSED, ids=[f.__name__ for f, _ in REFUSED])
def test_what_does_not_fit_is_refused_in_one_line(layout, words, images, tmp_path):
    layout(tmp_path, images)
    with pytest.raises(InputError, match=words) as error:
        ImageNet().split("test", store(tmp_path))
    assert "\n" not in str(error.value)


def test_training_archives_and_folders_that_do_not_fit_are_refused(images, tmp_path):
    foreign_class_tar(tmp_path, images)
    with pytest.raises(InputError, match=r"cats.tar in .* is not a class; expected tar files such as n01440764.tar"):
        ImageNet().split("train", store(tmp_path))
    with pytest.raises(InputError, match=r"holds no images of ImageNet's test split; expected val/n01440764/\*\.JPEG"):
        ImageNet().split("test", store(tmp_path))


def test_an_index_is_kept_and_made_again_when_it_is_damaged_or_old(images, tmp_path, monkeypatch):
    webdataset(tmp_path, images)
    cache, opened = tmp_path / "cache", []
    real = tarfile.open
    monkeypatch.setattr(tarfile, "open", lambda *a, **k: opened.append(1) or real(*a, **k))

    def digest() -> tuple[str, int]:
        opened.clear()
        split = ImageNet().split("test", store(tmp_path, cache=cache))
        split.read([0])
        return split.digest(), len(opened)

    first, shards = digest()
    assert shards == 3
    assert digest() == (first, 0)
    (kept,) = cache.iterdir()
    for damage in (kept.read_bytes()[:-1], b"", kept.read_bytes()[:80] + b"?" + kept.read_bytes()[81:]):
        kept.write_bytes(damage)
        assert digest() == (first, 3)
    (tmp_path / "imagenet1k-validation-00.tar").touch()
    assert digest() == (first, 3)
    assert len(list(cache.iterdir())) == 2


def test_an_index_that_cannot_be_kept_is_no_reason_to_stop(images, tmp_path):
    webdataset(tmp_path, images)
    (tmp_path / "cache").write_text("a file")
    assert len(ImageNet().split("test", store(tmp_path, cache=tmp_path / "cache")).ids) == 12


def test_problems_are_counted_and_the_first_named(images, tmp_path):
    makers.class_folders(tmp_path / "val", images)
    assert ImageNet().split("test", store(tmp_path)).problems() == [
        "12 images; expected 50,000",
        "class n01440764 (tench) has no images; expected 50",
        "class n01443537 (goldfish) has no images; expected 50",
        "class n01484850 (great white shark) has no images; expected 50",
        "class n01491361 (tiger shark) has no images; expected 50",
        "class n01494475 (hammerhead) has no images; expected 50",
        "and 995 more classes",
    ]


def test_problems_of_the_training_images_and_of_foreign_names(tmp_path):
    images = [makers.Photo(f"my-{i}", image.wnid, image.data) for i, image in enumerate(makers.photos(2))]
    makers.class_folders(tmp_path / "train", images)
    said = ImageNet().split("train", store(tmp_path)).problems()
    assert said[:3] == [
        "2 images without ImageNet's names, first my-0; expected names such as n01440764_10026.JPEG",
        "2 images; expected 1,281,167",
        "class n01440764 (tench) has no images; expected 732 to 1,300",
    ]


def test_pixels_come_from_the_archive_alone(images, tmp_path):
    """An archive that shrinks after it was indexed is not read as something else."""
    from bench.core.errors import UnreadableImageError

    tar(tmp_path, images)
    split = ImageNet().split("test", store(tmp_path))
    path = tmp_path / "ILSVRC2012_img_val.tar"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UnreadableImageError, match=r"val.tar: ILSVRC2012_val_00000012.JPEG: archive ends after 0 of"):
        split.read([11])

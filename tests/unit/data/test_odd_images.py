"""What image folders and archives are really made of: the right value, or one line."""

import io
import re
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bench.core.errors import InputError, UnreadableImageError
from bench.core.selection import read_ids
from bench.data.cifar10 import Cifar10
from bench.data.image_folder import ImageFolder
from bench.data.imagenet import ImageNet
from tests import makers
from tests.makers import store

PIXELS = np.random.default_rng(0).integers(30, 90, (16, 16), dtype=np.uint8)


def saved(path, image, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **how)
    return path


def split(root, name="test"):
    return ImageFolder().split(name, store(root, "none", 16))


def one_of_each(root, *names):
    for name in names:
        saved(root / "test" / name, Image.fromarray(PIXELS))


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_deep_grey_images_keep_their_brightness(tmp_path, suffix):
    deep = (PIXELS.astype(np.uint16) * 257).astype(np.uint16)
    saved(tmp_path / f"test/a/deep.{suffix}", Image.fromarray(deep))
    saved(tmp_path / "test/a/plain.png", Image.fromarray(PIXELS))
    found = split(tmp_path).read([0, 1])
    assert found.ids == ("a/deep", "a/plain")
    assert (found.images[0] == found.images[1]).all()


@pytest.mark.parametrize("values", [PIXELS.astype(np.float32) / 255, PIXELS.astype(np.int32) * 1_000_000])
def test_images_of_unknown_range_are_named(tmp_path, values):
    saved(tmp_path / "test/a/odd.tif", Image.fromarray(values))
    with pytest.raises(UnreadableImageError, match=r"a/odd.*of unknown range; expected 8 or 16 bits"):
        split(tmp_path).read([0])


def test_a_strip_is_named_before_it_fills_the_memory(tmp_path):
    saved(tmp_path / "test/a/strip.png", Image.new("RGB", (1, 20_000)))
    found = ImageFolder().split("test", store(tmp_path, "timm-eval", 224))
    with pytest.raises(UnreadableImageError, match=r"1 x 20000 would become 248 x \d+ when resized; too narrow"):
        found.read([0])


def test_every_format_that_people_have_is_read(tmp_path):
    suffixes = ("png", "JPG", "jpe", "jfif", "tif", "tiff", "ppm", "pgm", "gif", "bmp", "webp")
    for i, suffix in enumerate(suffixes):
        kind = {"jpe": "JPEG", "jfif": "JPEG"}.get(suffix)
        saved(tmp_path / f"test/a/i{i:02}.{suffix}", Image.fromarray(PIXELS), **({"format": kind} if kind else {}))
    found = split(tmp_path)
    assert len(found.ids) == len(suffixes)
    assert not found.problems()
    assert (found.read(range(len(suffixes))).images - found.read([0]).images).abs().mean(dim=(1, 2, 3)).max() < 0.03


def test_files_that_are_not_read_are_counted(tmp_path):
    one_of_each(tmp_path, "a/i.png", "b/i.png", "loose.png")
    for name in ("a/x.heic", "a/deep/y.npy", "b/z", "b/notes.txt", "b/.hidden.heic"):
        (tmp_path / "test" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "test" / name).write_bytes(b"0")
    loose, others = split(tmp_path).problems()
    assert loose.startswith("1 images are in ")
    assert "first loose.png" in loose
    assert "3 files in" in others
    assert "ignored (1 .heic, 1 .npy, 1 no suffix)" in others


def test_classes_named_by_numbers_follow_the_numbers(tmp_path):
    one_of_each(tmp_path, *(f"{n}/i.png" for n in range(12)))
    found = split(tmp_path)
    assert dict(zip(found.ids, found.labels, strict=True)) == {f"{n}/i": n for n in range(12)}


def test_links_are_followed_and_circles_named(tmp_path):
    one_of_each(tmp_path, "a/i.png")
    saved(tmp_path / "far/f.png", Image.fromarray(PIXELS))
    (tmp_path / "test/a/part").symlink_to(tmp_path / "far")
    hidden = tmp_path / "test/a/.ipynb_checkpoints/i-checkpoint.png"
    saved(hidden, Image.fromarray(PIXELS))
    assert split(tmp_path).ids == ("a/i", "a/part/f")
    (tmp_path / "far/back").symlink_to(tmp_path / "test/a")
    with pytest.raises(InputError, match=r"is a link to a folder above it; expected no cycle"):
        split(tmp_path)


@pytest.mark.parametrize("name", [b"caf\xe9.png", b"two\nlines.png"])
def test_names_that_no_record_can_hold_are_refused(tmp_path, name):
    one_of_each(tmp_path, "a/i.png")
    (tmp_path / "test/a/i.png").rename(tmp_path / "test/a" / name.decode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=r"is not a name that a record can hold; expected UTF-8") as refused:
        split(tmp_path)
    str(refused.value).encode("utf-8")  # it can be printed
    assert "\n" not in str(refused.value)


def test_a_key_of_a_shard_has_one_image_and_one_label(tmp_path, images):
    makers.webdataset(tmp_path, images, shard=len(images))
    (shard,) = tmp_path.glob("*.tar")
    with tarfile.open(shard) as archive:
        name = next(n for n in archive.getnames() if not n.endswith(".cls"))
    twin = f"{name.rpartition('.')[0]}.png"
    with tarfile.open(shard, "a") as archive:
        member = tarfile.TarInfo(twin if twin != name else f"{name.rpartition('.')[0]}.jpeg")
        member.size = len(images[1].data)
        archive.addfile(member, io.BytesIO(images[1].data))
    with pytest.raises(InputError, match=rf"holds {name} and {member.name} under one key; expected one image"):
        ImageNet().split("test", store(tmp_path))


def test_shards_are_of_a_split_by_a_word_of_their_names(tmp_path, images):
    makers.webdataset(tmp_path, images, shard=len(images))
    (shard,) = tmp_path.glob("*.tar")
    shard.rename(tmp_path / "interval-train-00.tar")
    with pytest.raises(InputError, match=r"holds no images of ImageNet's test split"):
        ImageNet().split("test", store(tmp_path))


def test_a_label_list_names_an_image_once(tmp_path, images):
    makers.flat(tmp_path / "val", images)
    makers.caffe_list(tmp_path, images)
    path = tmp_path / "val.txt"
    path.write_text(path.read_text() + path.read_text().splitlines()[0] + "\n")
    with pytest.raises(InputError, match=rf"val.txt cannot be read: {images[0].id} appears twice"):
        ImageNet().split("test", store(tmp_path))


@pytest.mark.parametrize(("change", "message"), [
    (lambda t: t.set_column(1, "label", pa.array([str(v) for v in t["label"].to_pylist()])), r"has the label '\d+'"),
    (lambda t: t.set_column(1, "label", pa.array([v + 0.7 for v in t["label"].to_pylist()])), r"has the label '\d+.7'"),
    (lambda t: t.set_column(0, "image", pa.array([{"bytes": b"0"}] * len(t))), r"expected a struct of bytes and path"),
    (lambda t: t.set_column(0, "image", pa.array([b"0"] * len(t))), r"is binary; expected a struct of bytes and path"),
])  # fmt: skip
def test_parquet_of_another_make_is_refused(tmp_path, images, change, message):
    makers.parquet(tmp_path, images, shards=1)
    (shard,) = tmp_path.rglob("*.parquet")
    pq.write_table(change(pq.read_table(shard)), shard)
    with pytest.raises(InputError, match=message):
        ImageNet().split("test", store(tmp_path))


def test_parquet_labels_that_are_whole_floats_are_numbers(tmp_path):
    makers.cifar10_parquet(tmp_path)
    before = Cifar10().split("test", store(tmp_path, "none", 32)).labels
    (shard,) = tmp_path.rglob("test-*.parquet")
    table = pq.read_table(shard)
    at = table.schema.names.index("label")
    pq.write_table(table.set_column(at, "label", table["label"].cast(pa.float64())), shard)
    assert Cifar10().split("test", store(tmp_path, "none", 32)).labels == before


def test_an_id_list_of_a_windows_editor_is_read_and_one_of_50_000_lines_checked_at_once(tmp_path):
    path = tmp_path / "ids.txt"
    path.write_bytes(b"\xef\xbb\xbfdigits-0001\r\ndigits-0002\r\n")
    assert read_ids(str(path)) == ("digits-0001", "digits-0002")
    path.write_text("\n".join([*(f"i{n}" for n in range(50_000)), "i49999"]))
    with pytest.raises(InputError, match="has 'i49999' twice"):
        read_ids(str(path))


def test_ids_keep_their_folders_where_the_data_set_has_them_and_lose_any_suffix(tmp_path):
    path = tmp_path / "ids.txt"
    path.write_text("a/i0.png\n./a/i1.WEBP\na/v1.2\nb/i0\n")
    assert read_ids(str(path), folders=True) == ("a/i0", "a/i1", "a/v1.2", "b/i0")
    path.write_text("n01/x1.JPEG\nx2.tiff\nx3\n")
    assert read_ids(str(path)) == ("x1", "x2", "x3")


@pytest.mark.parametrize("line", ["cat/val1", "cat/val1.png", "\ufeffcat/val1.webp"])
def test_a_listed_file_of_an_image_folder_is_found(cli, tmp_path, line):
    makers.image_folder(tmp_path / "data")
    (tmp_path / "ids.txt").write_text(line + "\n", encoding="utf-8")
    flags = ("--data", str(tmp_path / "data"), "--ids", str(tmp_path / "ids.txt"), "--set", "profile.classes=2")
    done = cli("doctor", "--profile", "image-folder", *flags)
    assert re.search(r"^ok .*data: test split: 1 image", done.out, re.MULTILINE), done.out

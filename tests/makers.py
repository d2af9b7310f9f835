"""Small real data sets in every layout that people have."""

import csv
import io
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from bench.core.plugins import Storage
from bench.core.preprocessing import preset
from bench.data.synsets import synset_labels

SYNSETS = list(synset_labels())
DEVKIT = "ILSVRC2012_devkit_t12"
TRUTH = "ILSVRC2012_validation_ground_truth.txt"


@dataclass(frozen=True)
class Photo:
    """One encoded image with its label."""

    id: str
    wnid: str
    data: bytes

    @property
    def label(self) -> int:
        return SYNSETS.index(self.wnid)


def store(root: Path | None, name: str = "timm-eval", side: int = 224, **more) -> Storage:
    """A storage with a preset of the ViT-B/16's figures."""
    return Storage(root, (3, side, side), preset(name, side=side, crop_share=0.9, interpolation="bicubic"), **more)


def noise(width: int, height: int, seed: int, cells: int = 6) -> Image.Image:
    """A smooth random field, which JPEG treats as it treats a photo."""
    small = np.random.default_rng(seed).integers(0, 256, (cells, cells, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def encode(image: Image.Image, kind: str = "JPEG") -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **({"quality": 92} if kind == "JPEG" else {}))
    return out.getvalue()


def photos(n: int = 12, *, train: bool = False) -> list[Photo]:
    """JPEGs of several sizes, among them a grey one, one in CMYK and a PNG; classes far apart, not in order."""
    made = []
    for i in range(n):
        image = noise(300 + 17 * i, 420 - 13 * i, seed=i + 100 * train)
        image = image.convert({1: "L", 2: "CMYK"}.get(i, "RGB"))
        wnid = SYNSETS[(i * 397 + 5) % 1000]
        name = f"{wnid}_{10 + i}" if train else f"ILSVRC2012_val_{i + 1:08d}"
        made.append(Photo(name, wnid, encode(image, "PNG" if i == 3 else "JPEG")))
    return made


def class_folders(folder: Path, images: list[Photo]) -> Path:
    """``folder/WNID/NAME.JPEG``."""
    for image in images:
        (folder / image.wnid).mkdir(parents=True, exist_ok=True)
        (folder / image.wnid / f"{image.id}.JPEG").write_bytes(image.data)
    return folder


def whole_validation(root: Path) -> Path:
    """ImageNet's 50,000 validation files in class folders, each class one image of its own, linked 50 times."""
    number, first = 0, root
    picture = encode(noise(256, 256, 1))
    for wnid in SYNSETS:
        folder = root / "val" / wnid
        folder.mkdir(parents=True)
        for at in range(50):
            number += 1
            path = folder / f"ILSVRC2012_val_{number:08d}.JPEG"
            if at:
                os.link(first, path)
            else:
                path.write_bytes(picture)
                first = path
    return root


def flat(folder: Path, images: list[Photo]) -> Path:
    """``folder/NAME.JPEG``."""
    folder.mkdir(parents=True, exist_ok=True)
    for image in images:
        (folder / f"{image.id}.JPEG").write_bytes(image.data)
    return folder


def meta_mat() -> tuple[bytes, dict[str, int]]:
    """The kit's table of synsets, with ids in an order of its own, and the id of each synset."""
    from scipy.io import savemat

    order = np.random.default_rng(0).permutation(len(SYNSETS))
    ids = {SYNSETS[s]: i + 1 for i, s in enumerate(order)}
    fields = ["ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children", "wordnet_height"]
    kinds = [(name, object) for name in [*fields, "num_train_images"]]
    rows = [(float(i), wnid, "a, b", "a thing", 0.0, np.zeros((1, 0)), 0.0, 1300.0) for wnid, i in ids.items()]
    rows.append((1001.0, "n99999999", "inner", "a kind of thing", 2.0, np.array([[1.0, 2.0]]), 1.0, 0.0))
    synsets = np.array(rows, dtype=kinds).reshape(-1, 1)
    out = io.BytesIO()
    savemat(out, {"synsets": synsets})
    return out.getvalue(), ids


def devkit(folder: Path, images: list[Photo], *, archive: bool = False) -> None:
    """The development kit, unpacked or as its archive."""
    meta, ids = meta_mat()
    truth = "".join(f"{ids[image.wnid]}\n" for image in images).encode()
    files = {f"{DEVKIT}/data/meta.mat": meta, f"{DEVKIT}/data/{TRUTH}": truth, f"{DEVKIT}/readme.txt": b"hello"}
    if archive:
        write_tar(folder / f"{DEVKIT}.tar.gz", files, mode="w:gz")
        return
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def synset_list(path: Path, images: list[Photo]) -> None:
    path.write_text("".join(f"{image.wnid}\n" for image in images))


def kaggle_csv(folder: Path, images: list[Photo]) -> None:
    """LOC_val_solution.csv, in Kaggle's order, which is none."""
    with (folder / "LOC_val_solution.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["ImageId", "PredictionString"])
        rows.writerows([image.id, f"{image.wnid} 1 2 30 40 {image.wnid} 5 6 70 80"] for image in reversed(images))


def caffe_list(folder: Path, images: list[Photo]) -> None:
    (folder / "val.txt").write_text("".join(f"{image.id}.JPEG {image.label}\n" for image in images))


def write_tar(path: Path | io.BytesIO, files: dict[str, bytes], mode: str = "w") -> None:
    where = {"fileobj": path} if isinstance(path, io.BytesIO) else {"name": path}
    with tarfile.open(mode=mode, **where) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def val_tar(folder: Path, images: list[Photo]) -> Path:
    """ILSVRC2012_img_val.tar."""
    write_tar(folder / "ILSVRC2012_img_val.tar", {f"{i.id}.JPEG": i.data for i in images})
    return folder / "ILSVRC2012_img_val.tar"


def train_tar(folder: Path, images: list[Photo]) -> Path:
    """ILSVRC2012_img_train.tar: a tar of a tar for each class."""
    inner: dict[str, bytes] = {}
    for wnid in sorted({image.wnid for image in images}, reverse=True):
        out = io.BytesIO()
        write_tar(out, {f"{i.id}.JPEG": i.data for i in images if i.wnid == wnid})
        inner[f"{wnid}.tar"] = out.getvalue()
    write_tar(folder / "ILSVRC2012_img_train.tar", inner)
    return folder / "ILSVRC2012_img_train.tar"


def parquet(folder: Path, images: list[Photo], *, split: str = "validation", shards: int = 2, group: int = 3) -> None:
    """Hugging Face's shards, in an order of their own."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    kind = pa.schema([("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("label", pa.int64())])
    mixed = [images[i] for i in np.random.default_rng(1).permutation(len(images))]
    for shard in range(shards):
        rows = [
            {"image": {"bytes": i.data, "path": f"{i.id}_{i.wnid}.JPEG"}, "label": i.label}
            for i in mixed[shard::shards]
        ]
        name = f"{split}-{shard:05d}-of-{shards:05d}.parquet"
        pq.write_table(pa.Table.from_pylist(rows, schema=kind), folder / name, row_group_size=group)


def webdataset(folder: Path, images: list[Photo], *, split: str = "validation", shard: int = 5) -> None:
    """Shards written by the webdataset package."""
    from webdataset import TarWriter

    for start in range(0, len(images), shard):
        with TarWriter(str(folder / f"imagenet1k-{split}-{start // shard:02d}.tar")) as sink:
            for image in images[::-1][start : start + shard]:
                key = f"{image.wnid}/{image.id}"
                sink.write({"__key__": key, "jpg": image.data, "cls": image.label, "json": {"label": image.label}})


def tiny_imagenet(root: Path, n: int = 8) -> Path:
    """tiny-imagenet-200 with 4 classes."""
    folder, wnids = root / "tiny-imagenet-200", [SYNSETS[i] for i in (900, 20, 500, 3)]
    (folder / "val/images").mkdir(parents=True)
    (folder / "wnids.txt").write_text("\n".join(wnids) + "\n")
    lines = []
    for i in range(n):
        wnid, data = wnids[i % 4], encode(noise(64, 64, i))
        (folder / "train" / wnid / "images").mkdir(parents=True, exist_ok=True)
        (folder / "train" / wnid / "images" / f"{wnid}_{i}.JPEG").write_bytes(data)
        (folder / "val/images" / f"val_{i}.JPEG").write_bytes(encode(noise(64, 64, 50 + i)))
        lines.append(f"val_{i}.JPEG\t{wnid}\t0\t0\t62\t62\n")
    (folder / "val/val_annotations.txt").write_text("".join(lines))
    return root


def cifar10_arrays(n: int = 6) -> tuple[np.ndarray, list[int]]:
    """Pixels (n, 32, 32, 3) and labels."""
    generator = np.random.default_rng(3)
    return generator.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8), generator.integers(0, 10, n).tolist()


def cifar10_binary(root: Path, n: int = 6) -> Path:
    """cifar-10-batches-bin, the same images in every file."""
    pixels, labels = cifar10_arrays(n)
    folder = root / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    records = np.concatenate([np.array(labels, np.uint8)[:, None], pixels.transpose(0, 3, 1, 2).reshape(n, -1)], axis=1)
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        (folder / f"{name}.bin").write_bytes(records.tobytes())
    return root


def cifar10_python(root: Path, n: int = 6) -> dict[str, str]:
    """cifar-10-batches-py, the same images in every file; the MD5 of each file."""
    import hashlib
    import pickle

    pixels, labels = cifar10_arrays(n)
    folder, sums = root / "cifar-10-batches-py", {}
    folder.mkdir(parents=True)
    batch = {"data": pixels.transpose(0, 3, 1, 2).reshape(n, -1), "labels": labels}
    files = {f"data_batch_{i}": batch for i in range(1, 6)} | {"test_batch": batch}
    for name, data in {**files, "batches.meta": {"label_names": list("abcdefghij")}}.items():
        (folder / name).write_bytes(pickle.dumps(data))
        sums[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
    return sums


def cifar10_parquet(root: Path, n: int = 6, split: str = "test") -> None:
    """Hugging Face's CIFAR-10."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pixels, labels = cifar10_arrays(n)
    rows = [
        {"img": {"bytes": encode(Image.fromarray(p), "PNG"), "path": None}, "label": label}
        for p, label in zip(pixels, labels, strict=True)
    ]
    kind = pa.schema([("img", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("label", pa.int64())])
    (root / "plain_text").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=kind), root / "plain_text" / f"{split}-00000-of-00001.parquet")


def image_folder(root: Path, classes: tuple[str, ...] = ("cat", "dog"), n: int = 3) -> Path:
    """train/ and val/ with a folder for each class, one file a level deeper."""
    for split in ("train", "val"):
        for c, name in enumerate(classes):
            for i in range(n):
                path = root / split / name / ("deep/" if i == 0 else "") / f"{split}{i}.{'png' if i else 'jpg'}"
                path.parent.mkdir(parents=True, exist_ok=True)
                seed = 10 * c + i + 100 * (split == "val")
                path.write_bytes(encode(noise(80, 70, seed), "PNG" if i else "JPEG"))
    return root


def imagenet(root: Path) -> Path:
    """Both splits in class folders."""
    class_folders(root / "train", photos(train=True))
    class_folders(root / "val", photos())
    return root


# By the name of the data set: what makes a small one, and its shape and preset.
MAKERS = {
    "imagenet": (imagenet, (3, 224, 224), "timm-eval"),
    "tiny-imagenet": (tiny_imagenet, (3, 64, 64), "none"),
    "cifar10": (cifar10_binary, (3, 32, 32), "none"),
    "image-folder": (image_folder, (3, 48, 48), "timm-eval"),
}

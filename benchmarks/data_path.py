"""Images per second from storage to tensors, by layout and workers, compared with the throughput of a ViT-B/16.

    python benchmarks/data_path.py --images 512 --workers 1 2 4

Photos of 500 x 375 and about 110 kB are made in a temporary folder, in four layouts. They are in the page cache, so the
figures measure decoding, not the disk.
"""

from __future__ import annotations

import argparse
import io
import os
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from bench.core.plugins import Storage
from bench.core.preprocessing import preset
from bench.core.profile import Augmentation
from bench.data.imagenet import ImageNet
from bench.data.readers.split import FileSplit
from bench.data.synsets import synset_labels

SIZE, QUALITY = (500, 375), 93
GROUP = 100  # images of a Parquet row group, as Hugging Face writes
CROP = Augmentation(crop=(0.08, 1.0), flip=0.5)
Sample = tuple[str, str, bytes]  # id, synset, JPEG


def photo(seed: int) -> bytes:
    """Smooth random fields of three scales: about as many bytes as a photo of ImageNet."""
    lots = np.random.default_rng(seed)
    image = np.zeros((SIZE[1], SIZE[0], 3), np.float32)
    for cells, weight in ((6, 0.4), (60, 0.3), (250, 0.3)):
        small = Image.fromarray(lots.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        image += weight * np.asarray(small.resize(SIZE, Image.Resampling.BICUBIC), np.float32)
    out = io.BytesIO()
    Image.fromarray(image.astype(np.uint8)).save(out, "JPEG", quality=QUALITY)
    return out.getvalue()


def samples(count: int) -> list[Sample]:
    """Photos with ids and classes; 64 different ones are enough."""
    data, synsets = [photo(i) for i in range(min(count, 64))], list(synset_labels())
    return [(f"ILSVRC2012_val_{i + 1:08d}", synsets[i * 7 % 1000], data[i % 64]) for i in range(count)]


def folders(root: Path, images: list[Sample]) -> None:
    """val/WNID/NAME.JPEG."""
    for name, wnid, data in images:
        (root / "val" / wnid).mkdir(parents=True, exist_ok=True)
        (root / "val" / wnid / f"{name}.JPEG").write_bytes(data)


def tar(root: Path, images: list[Sample]) -> None:
    """The original archive with a list of synsets."""
    _tar(root / "ILSVRC2012_img_val.tar", {f"{name}.JPEG": data for name, _, data in images})
    (root / "synset_labels.txt").write_text("".join(f"{wnid}\n" for _, wnid, _ in images))


def webdataset(root: Path, images: list[Sample]) -> None:
    """One shard."""
    files: dict[str, bytes] = {}
    for name, wnid, data in images:
        files |= {f"{name}.jpg": data, f"{name}.cls": str(synset_labels()[wnid]).encode()}
    _tar(root / "imagenet1k-validation-00.tar", files)


def parquet(root: Path, images: list[Sample], *, mixed: bool = False) -> None:
    """One shard, sorted by id or in random order."""
    order = np.random.default_rng(0).permutation(len(images)) if mixed else range(len(images))
    rows = [
        {"image": {"bytes": data, "path": f"{name}_{wnid}.JPEG"}, "label": synset_labels()[wnid]}
        for name, wnid, data in (images[i] for i in order)
    ]
    pq.write_table(pa.Table.from_pylist(rows), root / "validation-00000-of-00001.parquet", row_group_size=GROUP)


def parquet_mixed(root: Path, images: list[Sample]) -> None:
    """One shard in random order: every image is in another row group than the previous one."""
    parquet(root, images, mixed=True)


def _tar(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def opened(root: Path, workers: int) -> FileSplit:
    """The split at 224 x 224, as for evaluating ViT-B/16."""
    how = preset("timm-eval", side=224, crop_share=0.9, interpolation="bicubic")
    return ImageNet().split("test", Storage(root, (3, 224, 224), how, workers=workers))


def rate(call: Callable[[list[int]], object], count: int, batch: int) -> float:
    """Images per second over all images, after one warm-up batch."""
    call(list(range(min(batch, count))))
    start = time.perf_counter()
    for at in range(0, count, batch):
        call(list(range(at, min(at + batch, count))))
    return count / (time.perf_counter() - start)


def vit_rate(batch: int, batches: int) -> float:
    """Images per second of a ViT-B/16's forward in bf16, random weights, on this device."""
    import timm  # noqa: PLC0415 (seconds to import)

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = timm.create_model("vit_base_patch16_224", pretrained=False).eval().to(device, torch.bfloat16)
    images = torch.rand(batch, 3, 224, 224, device=device, dtype=torch.bfloat16)

    def forward() -> None:
        model(images)
        if device == "cuda":
            torch.cuda.synchronize()

    with torch.inference_mode():
        forward()
        start = time.perf_counter()
        for _ in range(batches):
            forward()
    return batch * batches / (time.perf_counter() - start)


def main() -> None:
    """Make the images, measure, print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--workers", type=int, nargs="+", default=sorted({1, os.cpu_count() or 1}))
    parser.add_argument("--model-batch", type=int, default=32, help="of the ViT; 0 leaves it out")
    parser.add_argument("--model-batches", type=int, default=3)
    given = parser.parse_args()
    images = samples(given.images)
    size = sum(len(data) for _, _, data in images) / len(images)
    model = vit_rate(given.model_batch, given.model_batches) if given.model_batch else None
    print(f"{len(images)} JPEGs of {SIZE[0]} x {SIZE[1]}, {size / 1e3:.0f} kB each; images per second")
    print(f"ViT-B/16 forward, bf16: {f'{model:.1f}' if model else 'not measured'}")
    print(f"{'layout':<14} {'workers':>7} {'read':>8} {'draw':>8} {'read / ViT':>11}")
    for layout in (folders, tar, webdataset, parquet, parquet_mixed):
        with tempfile.TemporaryDirectory() as folder:
            layout(Path(folder), images)
            for workers in given.workers:
                split = opened(Path(folder), workers)
                read = rate(split.read, len(images), given.batch)
                draw = rate(lambda at, split=split: split.draw(at, at, CROP), len(images), given.batch)
                ratio = f"{read / model:.2f}" if model else "-"
                print(f"{layout.__name__:<14} {workers:>7} {read:>8.1f} {draw:>8.1f} {ratio:>11}")


if __name__ == "__main__":
    main()

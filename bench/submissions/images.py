"""The adversarial images of a run as bytes in an archive, and back, with the declared sizes checked first."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from bench.core.spec import Spec
from bench.engine.kept import KeptImages
from bench.engine.means import Means
from bench.store.run import Run
from bench.store.untrusted import RefusedError, parse_json
from bench.store.verdicts import Row
from bench.submissions.archive import shard_name
from bench.submissions.archive_reader import Pack

_HEADER = 4096  # bytes; ours has about 80
_FLOAT = 4


def kept_images(run: Run, means: Means) -> Iterator[bytes]:
    """The stored adversarial images of each shard as safetensors, float32 (B, C, H, W); only readable ones.

    Args:
        run: Record and verdicts.
        means: Where the images are kept.

    Raises:
        BenchError: if images are not stored; run the same command again to make them.
    """
    kept = KeptImages(run, means)
    for index in kept.shards:
        batch, images = kept.read(index)
        empty = torch.empty(0, *run.record.spec.profile.image_shape)
        yield save({"images": images.detach().contiguous() if len(batch) else empty})


def check_images(pack: Pack, spec: Spec, rows: Sequence[Row]) -> list[str]:
    """The members with adversarial images, one per shard, of exactly the size that the Spec and the rows give.

    Only their headers are read. Empty if none were packed.

    Raises:
        RefusedError: if a shard is missing or surplus, or declares another shape or type.
    """
    shards = range(-(-len(rows) // spec.shard_size))
    expected = [shard_name(i) for i in shards] if pack.shards else []
    for name in sorted(set(pack.shards) ^ set(expected)):
        raise RefusedError(
            name, f"is {'missing' if name in expected else 'too much'}; the run has {len(shards)} shards"
        )
    for name, index in zip(expected, shards, strict=False):
        shape = _shape(spec, rows, index)
        head = pack.head(name, 8 + _HEADER)
        size = _check_header(head, shape, name)
        if pack.size(name) != size + math.prod(shape) * _FLOAT:
            raise RefusedError(name, f"has {pack.size(name)} bytes; expected {size + math.prod(shape) * _FLOAT}")
    return expected


def read_images(pack: Pack, spec: Spec, rows: Sequence[Row], index: int) -> Tensor:
    """The images of a shard that ``check_images`` accepted: float32 (B, C, H, W).

    Raises:
        RefusedError: if its bytes do not match the manifest.
    """
    data, shape = pack.read(shard_name(index)), _shape(spec, rows, index)
    values = np.frombuffer(data, dtype="<f4", offset=len(data) - math.prod(shape) * _FLOAT, count=math.prod(shape))
    return torch.from_numpy(values.reshape(shape).astype(np.float32, copy=True))


def _shape(spec: Spec, rows: Sequence[Row], index: int) -> tuple[int, ...]:
    """Shape of a shard: its readable images."""
    of_shard = rows[index * spec.shard_size : (index + 1) * spec.shard_size]
    return (sum(row.image_sha256 is not None for row in of_shard), *spec.profile.image_shape)


def _check_header(head: bytes, shape: tuple[int, ...], name: str) -> int:
    """The bytes before the pixels; a header that declares anything but one float32 tensor of ``shape`` is refused."""
    (length,) = struct.unpack("<Q", head[:8]) if len(head) >= 8 else (0,)
    if not 2 <= length <= _HEADER or len(head) < 8 + length:
        raise RefusedError(f"{name}: header", f"declares {length} bytes; expected 2 to {_HEADER}")
    header = parse_json(head[8 : 8 + length], f"{name}: header")
    if not isinstance(header, dict) or set(header) != {"images"} or not isinstance(header["images"], dict):
        raise RefusedError(f"{name}: header", "names other tensors; expected images only")
    wanted = {"dtype": "F32", "shape": list(shape), "data_offsets": [0, math.prod(shape) * _FLOAT]}
    for field in {**wanted, **header["images"]}:
        if field not in wanted or header["images"].get(field) != wanted[field]:
            got = json.dumps(header["images"].get(field))
            raise RefusedError(f"{name}: {field}", f"is {got}; expected {json.dumps(wanted.get(field))}")
    return int(8 + length)

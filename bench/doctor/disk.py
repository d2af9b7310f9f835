"""Check: free disk space for a run."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.core.errors import BenchError
from bench.doctor.examined import Examined
from bench.doctor.finding import Diagnosis, Topic, gigabytes
from bench.store.files import check_writable

_TOPIC = Topic("disk")
_MODELS = 2  # the target and an adversary's
_FLOAT = 4  # bytes
_ROW = 1000  # bytes of an image's verdict, generously
_TEMPORARY = 100e6  # bytes
_HOPELESS = 0.01  # share of the need below which a run cannot even start


def check(examined: Examined) -> Iterator[Diagnosis]:
    """BENCH_HOME stores adversarial images and models, the results folder verdicts, the temporary folder little."""
    asked = examined.question
    images = _images(examined)
    pixels = images * math.prod(examined.profile.image_shape) * _FLOAT if images else 0
    yield _room(
        "BENCH_HOME",
        asked.home.root.absolute(),
        pixels + _MODELS * examined.model_bytes,
        f"adversarial images of {images:,} images" + (" and models" if examined.model_bytes else ""),
        "set BENCH_HOME to a folder with more space, or delete files in its cache",
    )
    yield _room(
        "results",
        asked.resources.results.absolute(),
        images * _ROW,
        "verdicts",
        "give --results FOLDER on another disk",
    )
    yield _room("temporary folder", Path(tempfile.gettempdir()), _TEMPORARY, "temporary files", "set TMPDIR")


def _images(examined: Examined) -> int:
    """Number of images that a run would attack; 0 if the data cannot be opened, which another check reports."""
    try:
        return len(examined.chosen("test"))
    except Exception:  # any kind, for the same reason
        return 0


def _room(name: str, folder: Path, need: float, what: str, advice: str) -> Diagnosis:
    try:
        check_writable(folder)
    except BenchError as error:
        return Topic(name).error(error)
    there = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(there).free
    said = f"{name} {folder}: {gigabytes(free)} free"
    if need and free < need:
        finding = f"{said}, and {what} take up to {gigabytes(need)}"
        return _TOPIC.wrong(finding, advice, fatal=free < _HOPELESS * need)
    return _TOPIC.ok(said + (f", {what} take up to {gigabytes(need)}" if need else ""))

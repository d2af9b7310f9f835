"""Pack a local run into one archive for submission."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.core.errors import InputError
from bench.core.progress import stage
from bench.engine.means import Means
from bench.store.evidence import Evidence
from bench.store.galleries import DOCUMENT, PICTURE
from bench.store.runs import RunFolder
from bench.submissions.archive import SUFFIX, shard_name, write_pack
from bench.submissions.intake import RECORD, VERDICTS, read_own


@dataclass(frozen=True)
class Packed:
    """A written archive: its path, size, and shards of adversarial images."""

    path: Path
    run_id: str
    size: int
    shards: int


def pack_run(run: RunFolder, out: Path | None, means: Means, *, with_images: bool = False) -> Packed:
    """Pack a run's record, verdicts, picture and, if requested, its adversarial images.

    Args:
        run: The run.
        out: The archive; None for ``RUN.bench.zip`` in the working folder.
        means: Folders of models and adversarial images.
        with_images: Pack the adversarial images, so that they can be judged again.

    Raises:
        RefusedError: if a check would refuse the run.
        BenchError: if the images are not stored, or the archive cannot be written.
    """
    evidence = read_own(run)
    path = out or Path(f"{evidence.record.run_id}{SUFFIX}")
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected the archive's name, such as {path / 'RUN'}{SUFFIX}")
    shards: list[int] = []
    size = write_pack(path, evidence.record.run_id, _members(run, evidence, means, with_images, shards))
    return Packed(path, evidence.record.run_id, size, len(shards))


def _members(
    run: RunFolder, evidence: Evidence, means: Means, with_images: bool, shards: list[int]
) -> Iterator[tuple[str, bytes]]:
    names = [RECORD, VERDICTS, *([DOCUMENT, PICTURE] if evidence.gallery else [])]
    for name in names:
        yield name, run.file(name) or b""
    if not with_images:
        return
    from bench.submissions.images import kept_images  # noqa: PLC0415 (only images need torch)

    total = -(-len(evidence.rows) // evidence.record.spec.shard_size)
    with stage(means.progress, "pack images", total, "shard") as advance:
        for index, data in enumerate(kept_images(evidence, means)):
            shards.append(index)
            yield shard_name(index), data
            advance(1)

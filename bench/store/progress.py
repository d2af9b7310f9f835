"""How far an unfinished run is, read from its files alone."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from bench.core.errors import CorruptArtifactError
from bench.core.nouns import Outcome
from bench.store.claims import BEAT, Claim, Claims
from bench.store.runs import BEGUN, RunFolder
from bench.store.verdicts import read_rows


@dataclass(frozen=True)
class Working:
    """A shard that a process makes; ``state`` is ``lost`` if the process is gone or silent."""

    shard: int
    host: str
    pid: int
    since: str
    preparing: bool
    state: Literal["alive", "lost"]


@dataclass(frozen=True)
class RunProgress:
    """How far a run is.

    Attributes:
        run_id: Of the run.
        complete: Whether it has its record.
        driver: The process that gives out its shards; None if there is none.
        shards: Number of shards.
        done: Of those, the number with a file.
        failed: Shards whose images are ERROR, with the reason.
        running: Those that a process holds.
        left: Number of shards that are neither done nor held.
        images: Number of images.
        images_done: Of those, the number in finished shards.
        images_per_second: Of all workers together; None if that is not known.
        seconds_left: At that rate; with early stopping at most.
    """

    run_id: str
    complete: bool
    driver: str | None
    shards: int
    done: int
    failed: dict[int, str]
    running: list[Working]
    left: int
    images: int
    images_done: int
    images_per_second: float | None
    seconds_left: float | None


def progress_of(folder: RunFolder, claims: Claims | None = None, *, rows: bool = False) -> RunProgress | None:
    """How far a run is; None if it was not begun.

    Args:
        folder: The run.
        claims: Kept between two looks, so that a silent worker on another machine is noticed.
        rows: Read the shards too, for failures, images and rate.
    """
    if folder.complete:
        return _complete(folder)
    about = _begun(folder)
    if about is None:
        return None
    claims = claims or folder.claims()
    held = claims.all()
    paths = {int(path.stem): path for path in sorted((folder.path / "shards").glob("[0-9]*.parquet"))}
    running = [_working(claims, index, claim) for index, claim in held.items() if index not in paths]
    took, images_done, failed = 0.0, 0, dict[int, str]()
    for index in paths if rows else ():
        with suppress(CorruptArtifactError):
            found, more = read_rows(paths[index], address=f"{folder.path.name}/{index}")
            images_done += len(found)
            took += more.get("took", 0.0)
            if any(row.outcome is Outcome.ERROR for row in found):
                failed[index] = next(iter(more.get("warnings", [])), "images without a verdict")
    alive = sum(one.state == "alive" for one in running)
    rate = images_done / took * alive if took and alive else None
    return RunProgress(
        run_id=folder.path.name,
        complete=False,
        driver=folder.driver,
        shards=about["shards"],
        done=len(paths),
        failed=failed,
        running=running,
        left=about["shards"] - len(paths) - len(running),
        images=about["images"],
        images_done=images_done,
        images_per_second=rate,
        seconds_left=(about["images"] - images_done) / rate if rate else None,
    )


def watch_workers(claims: Claims) -> None:
    """Wait for a sign of life of workers on other machines, so that it is known which of them live."""
    deadline = time.monotonic() + 2 * BEAT
    while time.monotonic() < deadline and any(claims.lives(i, claim) is None for i, claim in claims.all().items()):
        time.sleep(BEAT / 10)


def _working(claims: Claims, index: int, claim: Claim) -> Working:
    state: Literal["alive", "lost"] = "alive" if claims.lives(index, claim) else "lost"
    return Working(index, claim.holder.host, claim.holder.pid, claim.since, not claim.judging, state)


def _begun(folder: RunFolder) -> dict[str, Any] | None:
    try:
        about = json.loads((folder.path / "shards" / BEGUN).read_bytes())
        return {"shards": int(about["shards"]), "images": int(about["images"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _complete(folder: RunFolder) -> RunProgress:
    record = folder.record()
    shards, images = record.cost.shards, record.metrics.images
    return RunProgress(folder.path.name, True, None, shards, shards, {}, [], 0, images, images, None, 0.0)

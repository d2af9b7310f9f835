"""Train the models that evaluations need."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.core.errors import InputError
from bench.core.key import Key
from bench.core.nouns import Trained
from bench.core.spec import Spec
from bench.engine.holders import Holder
from bench.engine.making import Making
from bench.engine.means import Means
from bench.engine.world import World


@dataclass(frozen=True)
class Deployed:
    """A stored model: its role, files, training log and training time."""

    role: str
    seed: int
    fingerprint: str | None
    digest: str
    folder: Path | None
    log: Path | None
    seconds: float


def train_models(
    spec: Spec, key: Key | None, means: Means, *, substitutes: int = 0, siblings: int = 0
) -> Iterator[Deployed]:
    """Train the target of a Spec, then an adversary's substitutes and siblings; existing models are listed too.

    Raises:
        InputError: if there is nothing to train, or no data to train on.
    """
    world = World(Making(spec, means), key)
    if not (world.defense.recipe(spec.profile) or spec.profile.base.recipe):
        raise InputError(f"defense {spec.defense.name} trains nothing; expected one that does, e.g. key-lora")
    holders = world.holders
    yield _timed(holders.target(), spec, means, lambda: world.target)
    for i in range(substitutes):
        yield _timed(holders.substitute(i), spec, means, partial(world.substitute, i))
    for i in range(1, siblings + 1):
        yield _timed(holders.sibling(i), spec, means, partial(world.sibling, i))


def _timed(holder: Holder, spec: Spec, means: Means, make: Callable[[], Trained]) -> Deployed:
    began = time.monotonic()
    made = make()
    seconds = time.monotonic() - began
    log = means.home.models.parent / "training" / made.folder.name / "log.csv" if made.folder else None
    kept = log if log and log.exists() else None
    return Deployed(holder.note, spec.seed, holder.fingerprint, made.digest, made.folder, kept, round(seconds, 2))

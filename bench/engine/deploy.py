"""Train the models that evaluations will ask for."""

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
from bench.engine.means import Means
from bench.engine.world import World


@dataclass(frozen=True)
class Deployed:
    """A model that is kept now: whose it is, its files, the log of its training, and how long it took."""

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
    """The target of a Spec, then an adversary's substitutes and siblings; those that are kept already are named.

    Raises:
        InputError: there is nothing to train, or no data to train on.
    """
    world = World(spec, key, means)
    if not (world.defense.recipe(spec.profile) or spec.profile.base.recipe):
        raise InputError(f"defense {spec.defense.name} trains nothing; expected one that does, e.g. key-lora")
    yield _timed("target", spec, key, means, lambda: world.target)
    for i in range(substitutes):
        guess = Key.from_seed(spec.seed, "adversary", i) if world.defense.keyed else None
        yield _timed(f"substitute {i}", spec, guess, means, partial(world.substitute, i))
    for i in range(siblings):
        other = Key.from_seed(spec.seed, "sibling", i)
        yield _timed(f"device {i + 1}", spec, other, means, partial(world.sibling, i + 1))


def _timed(role: str, spec: Spec, key: Key | None, means: Means, make: Callable[[], Trained]) -> Deployed:
    began = time.monotonic()
    made = make()
    seconds = time.monotonic() - began
    log = means.home.models.parent / "training" / made.folder.name / "log.csv" if made.folder else None
    fingerprint = key.fingerprint if key else None
    kept = log if log and log.exists() else None
    return Deployed(role, spec.seed, fingerprint, made.digest, made.folder, kept, round(seconds, 2))

"""The study of one defense's key: runs, measurements on its models, the record."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar, cast

from torch import nn

from bench.core.errors import InputError, NotApplicableError
from bench.core.nouns import Trained
from bench.core.registry import registry
from bench.engine.images_here import ImagesHere
from bench.engine.making import Making
from bench.engine.means import Means
from bench.engine.provenance import provenance
from bench.engine.request import Request
from bench.engine.shards import choose
from bench.engine.world import World
from bench.store.elsewhere import check_results
from bench.store.keyring import Keyring
from bench.store.keystudies import (
    KeyStudyRecord,
    KeyStudySpec,
    StudiedModel,
    keystudy_path,
    read_keystudy,
    write_keystudy,
)
from bench.studies.keystudy.distance import by_distance, with_keys
from bench.studies.keystudy.gradients import ComparedModel, Role, cosines, first_layers
from bench.studies.keystudy.pictures import Pictures
from bench.studies.keystudy.search import estimation
from bench.studies.keystudy.transfer import ATTACKS, PlannedRuns, plan, run_matrix, run_substitutes

STUDY_VERSION = 1  # increase it if the same study would get other figures
Result = TypeVar("Result")


@dataclass(frozen=True)
class Ask:
    """The request of `bench key-study`.

    Attributes:
        request: Profile, defense, attack, budget, seed, images, key.
        devices: Number of devices of the maker, each with its own key.
        wrong_keys: Number of random wrong keys.
        guesses: Orders that each climb of the key estimation may try.
        draws: Number of orders at each distance from the correct one.
        substitute_attacks: Attacks that compare keyed and key-free substitutes.
    """

    request: Request
    devices: int = 3
    wrong_keys: int = 100
    guesses: int = 1200
    draws: int = 5
    substitute_attacks: tuple[str, ...] = ATTACKS


def study(ask: Ask, keyring: Keyring, means: Means) -> KeyStudyRecord:
    """Run the missing parts of a study; a study whose runs all exist is read back.

    Raises:
        InputError: if the defense has no key, there are fewer than two devices, or a run is invalid.
        BenchError: for damaged files or a full disk; finished runs are kept.
    """
    _check(ask)
    planned = plan(ask.request, ask.devices, ask.substitute_attacks, keyring, ImagesHere(means))
    spec = _spec(ask, planned)
    check_results(means.results.root)
    path = keystudy_path(means.results.root, spec.study_id)
    if path.exists():
        kept = read_keystudy(path)
        if all(means.results.run(run).complete for run in kept.run_ids):
            return kept
    record = _made(spec, planned, means)
    write_keystudy(means.results.root, record)
    return record


def _made(spec: KeyStudySpec, planned: PlannedRuns, means: Means) -> KeyStudyRecord:
    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    notes = list(planned.notes)
    matrix = run_matrix(planned, means, notes)
    substitutes = run_substitutes(planned, means, notes)
    item = planned.matrix[0, 0]
    world, told, seed = World(Making(item.spec, means), item.key), means.progress, item.spec.seed
    chosen, about = choose(item.spec, world.test_split, item.ids)
    pictures = Pictures(world.test_split, chosen, item.spec.profile.judge_batch, means.device)
    models = _models(world, spec.devices, notes)
    compared = {name: ComparedModel(cast("nn.Module", trained.model), role) for name, (trained, role) in models.items()}
    target = compared["device 0"].model
    return KeyStudyRecord(
        study_id=spec.study_id,
        spec=spec,
        images=pictures.count,
        models=[
            StudiedModel(name=name, digest=trained.digest, clean_accuracy=pictures.accuracy(trained.model))
            for name, (trained, _) in models.items()
        ],
        cosines=cosines(compared, pictures, item.spec.budget, seed, told),
        first_layers=first_layers(compared, pictures.alike, notes),
        matrix=matrix,
        substitutes=substitutes,
        distance=_maybe(lambda: by_distance(target, pictures, spec.draws, seed, told), notes) or [],
        keys=_maybe(
            lambda: with_keys(target, world.defense, item.spec.profile, pictures, spec.wrong_keys, seed, told), notes
        ),
        estimation=_maybe(lambda: estimation(world, pictures, spec.guesses, told), notes) or [],
        notes=list(dict.fromkeys([*about, *notes, *world.notes])),
        seconds=round(time.monotonic() - clock, 3),
        provenance=provenance(started=started, argv=list(means.argv), device=means.device, key_name=means.key_name),
    )


def _models(world: World, devices: int, notes: list[str]) -> dict[str, tuple[Trained, Role]]:
    """Device 0 first."""
    out: dict[str, tuple[Trained, Role]] = {f"device {i}": (world.sibling(i), "device") for i in range(devices)}
    out["base"] = (world.base, "base")
    try:
        out["key-free substitute"] = (world.key_free(0, permuted=True), "key-free")
    except NotApplicableError as why:
        notes.append(f"key-free substitute: {why}")
    for guess in range(2):
        out[f"keyed substitute {guess}"] = (world.substitute(guess), "keyed")
    return out


def _maybe(make: Callable[[], Result], notes: list[str]) -> Result | None:
    """Parts that do not apply are noted and omitted."""
    try:
        return make()
    except NotApplicableError as why:
        notes.append(str(why))
        return None


def _spec(ask: Ask, planned: PlannedRuns) -> KeyStudySpec:
    return KeyStudySpec(
        run=planned.matrix[0, 0].spec,
        devices=ask.devices,
        wrong_keys=ask.wrong_keys,
        draws=ask.draws,
        guesses=ask.guesses,
        substitute_attacks=planned.attacks,
        version=STUDY_VERSION,
    )


def _check(ask: Ask) -> None:
    least = {"devices": (ask.devices, 2), "wrong-keys": (ask.wrong_keys, 1), "draws": (ask.draws, 1),
             "guesses": (ask.guesses, 1)}  # fmt: skip
    for name, (got, fewest) in least.items():
        if got < fewest:
            raise InputError(f"--{name} is {got}; expected {fewest} or more")
    kinds = registry("defenses")
    if not kinds.load(ask.request.defense).keyed:
        keyed = [e.name for e in kinds.describe() if e.error is None and kinds.load(e.name).keyed]
        raise InputError(f"defense {ask.request.defense} has no key; expected one with a key: {', '.join(keyed)}")
    if wrong := [name for name in ask.request.settings if name.startswith("threat.")]:
        raise InputError(f"setting {wrong[0]!r} belongs to one threat; a key study has several, expected none of them")

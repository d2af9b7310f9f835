"""The runs of a study: every ordered pair of devices, keyed against key-free substitutes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from bench.checks.statistics import holm
from bench.core.errors import NotApplicableError
from bench.core.spec import PluginSpec
from bench.engine.evaluate import run
from bench.engine.images_here import ImagesHere
from bench.engine.job import Job
from bench.engine.means import Means
from bench.engine.request import Request
from bench.engine.resolve import resolve
from bench.store.keyring import Keyring
from bench.store.keystudies import SiblingPair, Substitutes
from bench.store.run import Run
from bench.studies.compare import Comparison, compare

# The stock attack and the one designed for transfer.
ATTACKS = ("autoattack", "transfer")


@dataclass(frozen=True)
class PlannedRuns:
    """All runs of a study, resolved before any is made.

    Attributes:
        matrix: By (compromised, judged), row by row.
        substitutes: Keyed and key-free, by attack.
        notes: What is omitted, and why.
    """

    matrix: dict[tuple[int, int], Job]
    substitutes: dict[str, tuple[Job, Job]]
    notes: list[str]

    @property
    def attacks(self) -> list[PluginSpec]:
        """The runs of the substitutes."""
        return [keyed.spec.attack for keyed, _ in self.substitutes.values()]


def plan(request: Request, devices: int, attacks: tuple[str, ...], keyring: Keyring, data: ImagesHere) -> PlannedRuns:
    """Resolve every run, on the images at hand.

    Raises:
        InputError: if one of them cannot be run for a reason other than that it does not apply here.
    """
    matrix = {(i, j): _cell(request, i, j, keyring, data) for i in range(devices) for j in range(devices)}
    pairs: dict[str, tuple[Job, Job]] = {}
    notes: list[str] = []
    for attack in attacks:
        asked = replace(
            request, attack=attack, settings=_settings(request, keep_attack=attack == (request.attack or ATTACKS[0]))
        )
        try:
            pairs[attack] = (
                resolve(replace(asked, threat="adaptive"), keyring, data),
                resolve(_key_free(asked), keyring, data),
            )
        except NotApplicableError as why:
            notes.append(f"substitutes with {attack}: {why}")
    return PlannedRuns(matrix, pairs, notes)


def run_matrix(planned: PlannedRuns, means: Means, notes: list[str]) -> list[SiblingPair]:
    """The cells, row by row."""
    out = []
    for (i, j), item in planned.matrix.items():
        means.progress.note(f"device {i} attacks device {j}" if i != j else f"white-box on device {i}")
        made = _run(item, means, notes)
        out.append(
            SiblingPair(
                compromised=i,
                judged=j,
                run_id=made.id,
                robust_accuracy=made.robust_accuracy,
                interval=made.interval,
                clean_accuracy=made.clean_accuracy,
            )
        )
    return out


def run_substitutes(planned: PlannedRuns, means: Means, notes: list[str]) -> list[Substitutes]:
    """Both substitutes with every attack, compared image by image; Holm over the attacks."""
    found: dict[str, Comparison] = {}
    for attack, (keyed, free) in planned.substitutes.items():
        means.progress.note(f"keyed and key-free substitutes: {attack}")
        try:
            found[attack] = compare([_run(keyed, means, notes), _run(free, means, notes)])
        except NotApplicableError as why:
            notes.append(f"substitutes with {attack}: {why}")
    adjusted = holm([c.pairs[0].p for c in found.values()])
    return [_substitutes(a, c, p) for (a, c), p in zip(found.items(), adjusted, strict=True)]


def _substitutes(attack: str, compared: Comparison, p_holm: float) -> Substitutes:
    (keyed, free), (pair,) = compared.runs, compared.pairs
    return Substitutes(
        attack=attack,
        keyed_run=keyed.id,
        key_free_run=free.id,
        keyed=pair.table.robust_a,
        key_free=pair.table.robust_b,
        keyed_interval=keyed.interval,
        key_free_interval=free.interval,
        difference_interval=pair.interval,
        p_exact=pair.p,
        p_holm=p_holm,
    )


def _cell(request: Request, compromised: int, judged: int, keyring: Keyring, data: ImagesHere) -> Job:
    settings = _settings(request, keep_attack=True)
    if compromised == judged:
        return resolve(replace(request, threat="white-box", judge_device=judged, settings=settings), keyring, data)
    settings["threat.compromised"] = compromised
    return resolve(replace(request, threat="cross-key", judge_device=judged, settings=settings), keyring, data)


def _key_free(asked: Request) -> Request:
    """The substitute that differs from a keyed one only by the origin of its permutation."""
    return replace(asked, threat="adaptive-key-free", settings={**asked.settings, "threat.start": "permutations"})


def _settings(request: Request, *, keep_attack: bool) -> dict[str, Any]:
    return {n: v for n, v in request.settings.items() if keep_attack or not n.startswith("attack.")}


def _run(job: Job, means: Means, notes: list[str]) -> Run:
    made = run(job, means)
    notes += [f"run {made.id} is not eligible: {why.text}" for why in made.record.ineligible_because]
    return made

"""Every rung of a ladder against one defense on the same images, and the result at every tier."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from bench.checks.tiers import place, tier_of
from bench.core.canonical import digest
from bench.core.errors import InputError, NotApplicableError, UnknownNameError
from bench.core.frozen import Frozen
from bench.core.names import suggestion
from bench.core.nouns import Protocol
from bench.core.plugins import Knowledge
from bench.core.profile import first_problem
from bench.core.registry import registry
from bench.core.spec import PluginSpec
from bench.core.yaml_text import parse_yaml, read_yaml
from bench.engine.evaluate import run
from bench.engine.images_here import ImagesHere
from bench.engine.means import Means
from bench.engine.request import Request
from bench.engine.resolve import resolve
from bench.store.keyring import Keyring
from bench.store.ladders import LadderRecord, Skipped
from bench.store.record import Record
from bench.store.run import Run
from bench.studies.rungs import Climbed, ladder_record
from bench.studies.spread import make_all, worker_count


class Step(Frozen):
    """One rung in the record's format."""

    threat: str
    attack: str | None = None
    protocol: Protocol = Protocol.STRICT
    settings: dict[str, Any] = Field(default_factory=dict, alias="set")


class Ladder(Frozen):
    """Rungs that count, and the paper's rungs for comparison."""

    name: str
    summary: str
    rungs: list[Step] = Field(min_length=1)
    paper: list[Step] = Field(default_factory=list)


def load_ladder(name: str) -> Ladder:
    """A ladder by name or YAML file.

    Raises:
        UnknownNameError: if there is no such ladder or file.
        InputError: if the file is not a valid ladder.
    """
    folder = resources.files("bench") / "ladders"
    known = sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))
    given = name.endswith((".yaml", ".yml"))
    if given and not Path(name).is_file():
        raise UnknownNameError(
            f"ladder file {name!r} does not exist; expected a YAML file or one of {', '.join(known)}"
        )
    if not given and name not in known:
        raise UnknownNameError(f"unknown ladder {name!r}{suggestion(name, known)}")
    what = f"ladder {name!r}"
    data = read_yaml(Path(name), what) if given else parse_yaml((folder / f"{name}.yaml").read_bytes(), what)
    try:
        return Ladder.model_validate(data)
    except ValidationError as error:
        raise InputError(f"ladder {name!r}: {first_problem(error)}") from None


def climb(ladder: Ladder, request: Request, keyring: Keyring, means: Means, *, broken_below: float) -> LadderRecord:
    """Run the missing rungs and combine the verdicts.

    Args:
        ladder: The rungs.
        request: Profile, defense, budget, seed, images; its settings apply to every rung.
        keyring: The defender's.
        means: Device, folders, progress.
        broken_below: Share of the clean accuracy below which a defense counts as broken.

    Raises:
        BenchError: if a run fails for a reason other than that it does not apply to this defense.
    """
    began = time.monotonic()
    rungs, skipped, seen = list[Run](), list[Skipped](), dict[tuple[str, str], str]()
    data = ImagesHere(means)
    applicable = asked(ladder, request, keyring)
    if worker_count(means) > 1 or means.backend != "local":
        make_all([[one] for one in applicable], means, _told(means))
    for number, step in enumerate(_sorted(ladder.rungs), 1):
        means.progress.note(f"rung {number} of {len(ladder.rungs)}: {step.threat}, {step.attack or 'its attack'}")
        try:
            ran = _ran(step, request, keyring, data)
        except NotApplicableError as error:
            skipped.append(Skipped(threat=_threat(step), attack=step.attack or "", why=str(error)))
            continue
        record = ran.record
        held = record.digests.source, digest(record.spec.attack.model_dump(mode="json"))
        same = seen.get(held)
        if same and Knowledge.TARGET not in record.adversary.knows:
            why = f"its source is that of {same}, which ran already with this attack"
            skipped.append(Skipped(threat=record.spec.threat, attack=record.spec.attack.name, why=why))
            continue
        seen[held] = record.spec.threat.name
        rungs.append(ran)
    if not rungs:
        raise InputError(f"no rung of ladder {ladder.name} applies to {request.defense}: {skipped[0].why}")
    climbed = Climbed(ladder.name, rungs, list(_beside(ladder, request, keyring, data)), skipped)
    return ladder_record(climbed, broken_below=broken_below, seconds=time.monotonic() - began)


def asked(ladder: Ladder, request: Request, keyring: Keyring) -> list[Request]:
    """The runs of a ladder that apply to a defense: invalid rungs are found before anything is run.

    Raises:
        InputError: if a rung is invalid, or a setting cannot apply to every rung.
    """
    if wrong := [name for name in request.settings if name.startswith(("threat.", "attack."))]:
        raise InputError(f"setting {wrong[0]!r} belongs to one rung; expected it in the ladder's file (--ladder FILE)")
    applicable = []
    for step in [*_sorted(ladder.rungs), *ladder.paper]:
        try:
            resolve(_asked(step, request), keyring)
            applicable.append(_asked(step, request))
        except NotApplicableError:
            continue
    return applicable


def _told(means: Means) -> Callable[[Request, str | None], None]:
    def told(request: Request, why: str | None) -> None:
        means.progress.note(f"rung {request.threat}: {why or 'done'}")

    return told


def _asked(step: Step, request: Request) -> Request:
    own = {name: value for name, value in request.settings.items() if not name.startswith(("threat.", "attack."))}
    return replace(
        request, threat=step.threat, attack=step.attack, protocol=step.protocol, settings={**own, **step.settings}
    )


def _ran(step: Step, request: Request, keyring: Keyring, data: ImagesHere) -> Run:
    return run(resolve(_asked(step, request), keyring, data), data.means)


def _beside(ladder: Ladder, request: Request, keyring: Keyring, data: ImagesHere) -> Iterator[Record]:
    for step in ladder.paper:
        data.means.progress.note(f"as the paper measured: {step.threat}")
        try:
            yield _ran(step, request, keyring, data).record
        except NotApplicableError:
            continue


def _sorted(steps: Sequence[Step]) -> list[Step]:
    """By the tiers that threats and attacks declare, so that the cheapest adversaries run first."""

    def declared(step: Step) -> int:
        threat = registry("threats").load(step.threat)
        attack = registry("attacks").load(str(step.attack or threat.attack))
        tier = tier_of(
            threat.tier,
            on_target=False,
            keyed=True,
            knows=threat.knows,
            access=threat.access,
            for_transfer=attack.for_transfer,
        )
        return place(tier)

    return sorted(steps, key=declared)


def _threat(step: Step) -> PluginSpec:
    options = {name.removeprefix("threat."): v for name, v in step.settings.items() if name.startswith("threat.")}
    return PluginSpec(name=step.threat, options=options)

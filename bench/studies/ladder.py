"""Every rung of a ladder against one defense on the same images, and what is left of it at every tier."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from bench.checks.battery.sources import WEAK
from bench.checks.statistics import interval
from bench.core.canonical import digest
from bench.core.errors import InputError, NotApplicableError, UnknownNameError
from bench.core.frozen import Frozen
from bench.core.names import suggestion
from bench.core.nouns import Protocol
from bench.core.plugins import Knowledge
from bench.core.profile import first_problem
from bench.core.registry import registry
from bench.core.spec import PluginSpec
from bench.core.tiers import TIERS
from bench.engine.evaluate import run
from bench.engine.means import Means
from bench.engine.request import Request
from bench.engine.resolve import resolve
from bench.store.keyring import Keyring
from bench.store.ladders import LadderRecord, Rung, Skipped, Tier
from bench.store.record import Record
from bench.store.run import Run


class Step(Frozen):
    """One rung as it is written down."""

    threat: str
    attack: str | None = None
    protocol: Protocol = Protocol.STRICT
    settings: dict[str, Any] = Field(default_factory=dict, alias="set")


class Ladder(Frozen):
    """Rungs that count, and those of the paper that stand beside them."""

    name: str
    summary: str
    rungs: list[Step] = Field(min_length=1)
    paper: list[Step] = Field(default_factory=list)


@dataclass
class Climb:
    """What is known so far.

    Attributes:
        stands: By image id, whether it is robust against every rung so far.
        rows: The rungs that ran, lowest tier first.
        by_tier: For each tier, whether an image is robust against all its rungs whose source is worth attacking.
    """

    stands: dict[str, bool] = field(default_factory=dict)
    rows: list[Rung] = field(default_factory=list)
    by_tier: dict[str, dict[str, bool]] = field(default_factory=dict)
    up_to: dict[str, float] = field(default_factory=dict)

    def add(self, tier: str, ran: Run) -> None:
        """Count one more rung."""
        robust = ran.robust
        self.stands = _both(self.stands or robust, robust)
        rung = rung_of(tier, ran.record, sum(self.stands.values()) / len(self.stands))
        self.rows.append(rung)
        self.up_to[tier] = rung.worst_so_far or 0.0
        if not rung.source_too_weak:
            self.by_tier[tier] = _both(self.by_tier.get(tier, robust), robust)

    def tiers(self) -> list[Tier]:
        """A line for each tier that has a rung."""
        n = len(self.stands)
        out = []
        for tier, left in self.up_to.items():
            own = self.by_tier.get(tier)
            out.append(
                Tier(
                    tier=tier,
                    robust_accuracy=sum(own.values()) / n if own else None,
                    up_to=left,
                    interval=interval(round(left * n), n),
                )
            )
        return out


def load_ladder(name: str) -> Ladder:
    """A ladder by its name or by the path of a YAML file.

    Raises:
        UnknownNameError: no such ladder or file.
        InputError: the file does not make a ladder.
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
    text = (Path(name) if given else folder / f"{name}.yaml").read_text(encoding="utf-8")
    try:
        return Ladder.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise InputError(f"ladder {name!r} is not readable YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        raise InputError(f"ladder {name!r}: {first_problem(error)}") from None


def climb(ladder: Ladder, request: Request, keyring: Keyring, means: Means, *, broken_below: float) -> LadderRecord:
    """Run what is missing of every rung and put the verdicts together.

    Args:
        ladder: The rungs.
        request: Profile, defense, budget, seed, images; its settings hold for every rung.
        keyring: The defender's.
        means: Device, folders, who is told.
        broken_below: Share of the clean accuracy under which a defense counts as broken.

    Raises:
        BenchError: a run that cannot be made for a reason other than that it makes no sense for this defense.
    """
    began = time.monotonic()
    state, skipped, seen = Climb(), list[Skipped](), dict[tuple[str, str], str]()
    first: Record | None = None
    _check(ladder, request, keyring)
    for number, step in enumerate(_sorted(ladder.rungs), 1):
        means.progress.note(f"rung {number} of {len(ladder.rungs)}: {step.threat}, {step.attack or 'its attack'}")
        try:
            ran = _ran(step, request, keyring, means)
        except NotApplicableError as error:
            skipped.append(Skipped(threat=_threat(step), attack=step.attack or "", why=str(error)))
            continue
        record = ran.record
        held = record.digests.source, digest(record.spec.attack.model_dump(mode="json"))
        same = seen.get(held)
        if same and Knowledge.TARGET not in registry("threats").load(step.threat).knows:
            why = f"its source is that of {same}, which ran already with this attack"
            skipped.append(Skipped(threat=record.spec.threat, attack=record.spec.attack.name, why=why))
            continue
        seen[held] = record.spec.threat.name
        first = first or record
        state.add(tier_of(step, record), ran)
    if first is None:
        raise InputError(f"no rung of ladder {ladder.name} makes sense for {request.defense}: {skipped[0].why}")
    paper = [rung_of(tier_of(step, ran), ran, None) for step, ran in _beside(ladder, request, keyring, means)]
    return _summed(ladder, first, state, paper, skipped, broken_below, time.monotonic() - began)


def tier_of(step: Step, record: Record) -> str:
    """The threat's tier; T1 with an attack made for transfer is T1+."""
    tier: str = registry("threats").load(step.threat).tier
    transfer = getattr(registry("attacks").load(record.spec.attack.name), "for_transfer", False)
    return "T1+" if tier == "T1" and transfer else tier


def rung_of(tier: str, record: Record, worst: float | None) -> Rung:
    """A record as a rung."""
    metrics = record.metrics
    return Rung(
        run_id=record.run_id,
        tier=tier,
        threat=record.spec.threat,
        attack=record.spec.attack.name,
        robust_accuracy=metrics.robust_accuracy,
        interval=metrics.robust_accuracy_interval,
        worst_so_far=worst,
        source_clean_accuracy=metrics.source_clean_accuracy,
        source_too_weak=metrics.source_clean_accuracy < WEAK * metrics.clean_accuracy,
        against=record.ineligible_because,
    )


def _check(ladder: Ladder, request: Request, keyring: Keyring) -> None:
    """Find what cannot be run before anything is.

    Raises:
        InputError: a rung that makes no Spec, or a setting that cannot hold for every rung.
    """
    if wrong := [name for name in request.settings if name.startswith(("threat.", "attack."))]:
        raise InputError(f"setting {wrong[0]!r} belongs to one rung; expected it in the ladder's file (--ladder FILE)")
    for step in [*ladder.rungs, *ladder.paper]:
        try:
            resolve(_asked(step, request), keyring)
        except NotApplicableError:
            continue


def _asked(step: Step, request: Request) -> Request:
    own = {name: value for name, value in request.settings.items() if not name.startswith(("threat.", "attack."))}
    return replace(
        request, threat=step.threat, attack=step.attack, protocol=step.protocol, settings={**own, **step.settings}
    )


def _ran(step: Step, request: Request, keyring: Keyring, means: Means) -> Run:
    return run(resolve(_asked(step, request), keyring), means)


def _beside(ladder: Ladder, request: Request, keyring: Keyring, means: Means) -> Iterator[tuple[Step, Record]]:
    for step in ladder.paper:
        means.progress.note(f"as the paper measured: {step.threat}")
        try:
            yield step, _ran(step, request, keyring, means).record
        except NotApplicableError:
            continue


def _sorted(steps: Sequence[Step]) -> list[Step]:
    """By tier; T1+ is only known of a rung's attack, which must be loaded to ask."""

    def place(step: Step) -> int:
        threat = registry("threats").load(step.threat)
        name = str(step.attack or threat.attack)
        plus = threat.tier == "T1" and getattr(registry("attacks").load(name), "for_transfer", False)
        tier = "T1+" if plus else threat.tier
        return TIERS.index(tier) if tier in TIERS else len(TIERS)

    return sorted(steps, key=place)


def _threat(step: Step) -> PluginSpec:
    options = {name.removeprefix("threat."): v for name, v in step.settings.items() if name.startswith("threat.")}
    return PluginSpec(name=step.threat, options=options)


def _both(one: dict[str, bool], other: dict[str, bool]) -> dict[str, bool]:
    if one.keys() != other.keys():
        raise InputError("two rungs judged different images; delete the older results and run the ladder again")
    return {image: one[image] and other[image] for image in one}


def _stands_against(rung: Rung) -> list[str]:
    """What speaks against a rung but that its source is weak, which is marked and flatters no worst case."""
    return [text for text in rung.against if not text.startswith("unreliable: weak source")]


def _summed(
    ladder: Ladder,
    first: Record,
    state: Climb,
    paper: list[Rung],
    skipped: list[Skipped],
    broken_below: float,
    seconds: float,
) -> LadderRecord:
    metrics, spec = first.metrics, first.spec
    tiers = state.tiers()
    limit = broken_below * metrics.clean_accuracy
    return LadderRecord(
        ladder_id=digest([ladder.name, [rung.run_id for rung in state.rows + paper], broken_below])[:16],
        ladder=ladder.name,
        profile=spec.profile.name,
        defense=spec.defense,
        budget=spec.budget,
        seed=spec.seed,
        images=metrics.images,
        clean_accuracy=metrics.clean_accuracy,
        clean_interval=interval(round(metrics.clean_accuracy * metrics.images), metrics.images),
        rungs=state.rows,
        paper=paper,
        skipped=skipped,
        tiers=tiers,
        broken_below=broken_below,
        first_break=next((tier.tier for tier in tiers if tier.up_to < limit), None),
        eligible=not any(_stands_against(rung) for rung in state.rows),
        seconds=round(seconds, 3),
    )

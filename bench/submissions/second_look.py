"""What a check adds to judging again: the quick audit, and a short attack of its own on the same images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.checks.battery.draws import pick
from bench.checks.chance import one_sided
from bench.checks.tiers import source_check
from bench.core.budget import Norm
from bench.core.nouns import Access, Adversary, Batch, Outcome, Precision, Trained
from bench.core.numerics import numerics
from bench.core.plugins import Attack, Threat
from bench.core.registry import registry
from bench.engine.judge import judge
from bench.engine.query_oracle import QueryOracle
from bench.engine.quick_audit import look
from bench.engine.world import World
from bench.store.evidence import Evidence
from bench.store.record import Record
from bench.store.verdicts import Row
from bench.submissions.limited import CannotError

_IMAGES = 64
_STEPS, _TRANSFER_STEPS, _QUERIES, _LABELS = 20, 10, 200, 500


@dataclass(frozen=True)
class Short:
    """A short attack of this side: name and options of a packaged plug-in."""

    name: str
    options: dict[str, Any]

    def __str__(self) -> str:
        said = ", ".join(f"{name} {value}" for name, value in self.options.items() if isinstance(value, int))
        return f"{self.name}, {said}"


def differences(record: Record, world: World, source: Trained | None, chosen: list[int]) -> list[str]:
    """The checks of the quick audit that have another status here than in the record, one line each.

    Args:
        record: The submission's.
        world: Its deployment.
        source: The model that the attack saw; None where it is not available, and then its check is left out.
        chosen: Positions of all images of the run.
    """
    name = record.spec.threat.name
    threat: Threat = registry("threats").make(name, record.spec.threat.options)
    here = {found.check: found.status for found in look(world, threat, source or world.target, chosen).findings}
    said = {found.check: found.status for found in record.audit}
    if source is None:
        here.pop(source_check(name), None)
    return [
        f"audit: {check}: the record says {said.get(check, 'nothing')}, here it is {status}"
        for check, status in here.items()
        if said.get(check) != status
    ]


def short_attack(record: Record, source: Trained) -> Short:
    """The attack of this side that fits what the adversary of a record has.

    On the deployed model itself it is APGD with Square, behind an interface of scores or labels a query attack, and on
    any other source an attack of the submitted kind: its images have to be compared with like ones.

    Raises:
        CannotError: if there is none for the norm.
    """
    norm, attack, access = record.spec.budget.norm, record.spec.attack, record.adversary.access
    options: dict[str, Any]
    if isinstance(source.model, QueryOracle):
        if norm is Norm.L1 or (access is Access.LABELS and norm is not Norm.LINF):
            raise CannotError(f"this side has no short attack under {norm} on {access}")
        least = min(_LABELS if access is Access.LABELS else _QUERIES, record.adversary.queries or _LABELS)
        return Short("rays" if access is Access.LABELS else "square", {"queries": least})
    if record.on_target and norm is not Norm.L1:
        options = {"version": "custom", "attacks": ["apgd-ce", "square"], "iterations": _STEPS, "queries": _QUERIES}
        return Short("autoattack", options)
    if record.on_target:
        return Short("pgd", {"steps": _STEPS})
    if attack.name == "autoattack" and norm is not Norm.L1:
        mode = attack.options.get("mode", "first")
        options = {"version": "custom", "attacks": ["apgd-ce"], "mode": mode, "iterations": _STEPS}
        return Short("autoattack", options)
    return Short("transfer", {"steps": _TRANSFER_STEPS})


def attack_again(evidence: Evidence, world: World, source: Trained, positions: list[int]) -> tuple[bool, str]:
    """Attack some of the images with a short attack of this side.

    Args:
        evidence: The submission.
        world: Its deployment.
        source: The model that its attack saw.
        positions: Position of the image of each row.

    Returns:
        Whether the short attack leaves clearly fewer images than the submitted ones (exact McNemar test), and the
        figures in one line.

    Raises:
        CannotError: if there is no attack for this adversary, or no image that was attacked.
    """
    record = evidence.record
    rows = [i for i, row in enumerate(evidence.rows) if row.attack != "none" and row.image_sha256 is not None]
    if not rows:
        raise CannotError("no image was attacked")
    rows = [rows[i] for i in pick(record.spec.seed, len(rows), min(_IMAGES, len(rows)), "second look")]
    short = short_attack(record, source)
    batch = world.test_split.read([positions[i] for i in rows]).to(world.device)
    fooled = _fooled(short, record, world, source, batch)
    theirs: list[Row] = [evidence.rows[i] for i in rows]
    alone = sum(row.robust and ours for row, ours in zip(theirs, fooled, strict=True))
    missed = sum(row.outcome is Outcome.FOOLED and not ours for row, ours in zip(theirs, fooled, strict=True))
    said = sum(row.robust for row in theirs)
    left = sum(row.outcome is not Outcome.MISCLASSIFIED and not ours for row, ours in zip(theirs, fooled, strict=True))
    text = f"an attack of this side ({short}; {len(rows)} images) leaves {left / len(rows):.0%} where the run states " \
           f"{said / len(rows):.0%}"  # fmt: skip
    return one_sided(alone, missed), text


def _fooled(short: Short, record: Record, world: World, source: Trained, batch: Batch) -> list[bool]:
    spec, model = record.spec, source.model
    attack: Attack = registry("attacks").make(short.name, short.options)
    if isinstance(model, QueryOracle):
        model = model.within(None)
    adversary = Adversary(model, spec.budget, spec.seed, precision=Precision.FP32, queries=record.adversary.queries)
    own = Batch(batch.ids, batch.images.clone(), batch.labels.clone())
    with numerics(Precision.FP32, batch.images.device.type):
        candidates = attack.perturb(adversary, own).detach()
    verdicts = judge(world.target.model, batch, candidates, spec.budget, world.spec.profile.judge_batch)
    return [verdict.outcome is Outcome.FOOLED for verdict in verdicts]

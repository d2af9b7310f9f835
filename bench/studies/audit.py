"""The audit of a deployment: its models, a random subset of its images, the battery, the record."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import cast

from torch import nn

from bench.checks.battery import CheckEffort, Status, Subject, answers, battery, judged
from bench.checks.battery.draws import pick
from bench.core.canonical import digest
from bench.core.errors import InputError
from bench.core.nouns import Batch, Trained
from bench.core.plugins import Split
from bench.core.spec import Spec
from bench.engine.images_here import ImagesHere
from bench.engine.job import Job
from bench.engine.making import Making
from bench.engine.means import Means
from bench.engine.provenance import provenance
from bench.engine.quick_audit import again_of, found_of
from bench.engine.shards import Reader
from bench.engine.world import World
from bench.store.audits import Answered, AuditRecord, AuditSpec, audit_path, read_audit, write_audit
from bench.store.elsewhere import check_results

BATTERY_VERSION = 2  # increase it if the same deployment would get other findings
_LEAST = 8  # images, below which exact tests are inconclusive


def audit_spec(spec: Spec, images: int, data: ImagesHere) -> AuditSpec:
    """The Spec of an audit of the deployment of a run's Spec.

    Raises:
        InputError: if there are too few images, or eps is 0.
    """
    if images < _LEAST:
        raise InputError(f"--images is {images}; expected {_LEAST} or more, because fewer are inconclusive")
    if spec.budget.radius == 0:
        raise InputError("eps is 0; expected more, because a ball of radius 0 leaves nothing to audit")
    return AuditSpec(profile=spec.profile, defense=spec.defense, budget=spec.budget, seed=spec.seed, images=images,
                     key=spec.key, version=BATTERY_VERSION,
                     data=digest([data.whole(spec.profile, "test"), data.training(spec.profile)]))  # fmt: skip


def audit(job: Job, means: Means, images: int, effort: CheckEffort | None = None) -> AuditRecord:
    """Audit the deployment of a Spec and write the findings; an existing audit is read back.

    Args:
        job: Defense, profile, budget, seed and key; its threat and attack are ignored.
        means: Device, folders, progress.
        images: Number of test images, selected by the seed.
        effort: Effort of the checks' attacks.

    Raises:
        BenchError: for bad input, damaged files, or a full disk.
    """
    about = audit_spec(job.spec, images, ImagesHere(means))
    check_results(means.results.root)
    path = audit_path(means.results.root, about.audit_id)
    if path.exists():
        return read_audit(path)
    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    world = World(Making(job.spec, means), job.key)
    notes: list[str] = []
    sources = sources_of(world, notes)
    subject = subject_of(world, images, sources, notes)
    found = battery(subject, effort)
    answered = answers(subject, found, effort)
    found += judged(answered)
    record = AuditRecord(
        audit_id=about.audit_id,
        spec=about,
        reliable=not any(f.status is Status.FAIL for f in found),
        findings=[found_of(f) for f in found],
        answers=[Answered(**asdict(a)) for a in answered],
        notes=[*notes, *dict.fromkeys(world.notes)],
        target=world.target.digest,
        sources={name: source.digest for name, source in sources.items()},
        image_ids=list(subject.batch.ids),
        seconds=round(time.monotonic() - clock, 3),
        provenance=provenance(started=started, argv=list(means.argv), device=means.device, key_name=means.key_name),
    )
    write_audit(means.results.root, record)
    return record


def sources_of(world: World, notes: list[str]) -> dict[str, Trained]:
    """The source models of transfer adversaries; empty for the undefended model."""
    target = world.target
    try:
        sources = {"non-adaptive": world.base}
    except InputError as why:
        notes.append(f"no undefended model was examined: {why}")
        return {}
    if target.model is sources["non-adaptive"].model:
        return {}
    if not world.defense.ready:
        try:
            sources["adaptive"] = world.substitute(0)
        except InputError as why:
            notes.append(f"no adaptive source was examined: {why}")
    return sources


def subject_of(world: World, images: int, sources: dict[str, Trained], notes: list[str]) -> Subject:
    """The input of the checks: target, sources, and random images of both splits."""
    spec = world.spec
    target = world.target.model
    base = sources.get("non-adaptive")
    return Subject(
        target=cast("nn.Module", target),
        batch=_draw(world.test_split, images, spec.seed, "test", notes).to(world.device),
        classes=spec.profile.classes,
        budget=spec.budget,
        seed=spec.seed,
        fresh=_fresh(world, images, notes),
        base=cast("nn.Module", base.model) if base else None,
        substitutes={name: cast("nn.Module", source.model) for name, source in sources.items()},
        keyed=world.defense.keyed,
        kin=frozenset(sources) - {"non-adaptive"},
        again=again_of(world),
    )


def _fresh(world: World, images: int, notes: list[str]) -> Batch | None:
    try:
        return _draw(world.train_split, images, world.spec.seed, "train", notes).to(world.device)
    except InputError as why:
        notes.append(f"no training images to compare the test images with: {why}")
        return None


def _draw(split: Split, count: int, seed: int, name: str, notes: list[str]) -> Batch:
    chosen: Sequence[int] = pick(seed, len(split.ids), count, name)
    batch, broken = Reader(split, chosen, count).read(0)
    notes += [image.why for image in broken]
    if not len(batch):
        raise InputError(f"none of {count} images of the {name} split can be read; see `bench doctor`")
    return batch

"""One evaluation: shards through attack and judge, resumable, to a record."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import torch

from bench.core.devices import check_device
from bench.core.errors import CorruptArtifactError, InputError
from bench.core.nouns import Access, Outcome
from bench.core.plugins import Attack, Backend, Threat
from bench.core.progress import Advance, stage
from bench.core.registry import registry
from bench.core.spec import Spec
from bench.engine.candidates import Attacker
from bench.engine.declared import adversary_about
from bench.engine.early_stop import Enough
from bench.engine.flops import arithmetic, gives_gradient, peak
from bench.engine.further import further
from bench.engine.images_here import ImagesHere
from bench.engine.job import Job
from bench.engine.judging import Judging
from bench.engine.making import Making
from bench.engine.means import Means
from bench.engine.members import members_of, shares
from bench.engine.provenance import provenance
from bench.engine.resolve import attacks_with, defender_key
from bench.engine.shard_rows import about_nothing, about_of, row_of, unread
from bench.engine.shards import Reader, Shard, choose
from bench.engine.summarise import SourceCost, summarise
from bench.engine.versions import check_code, outsiders
from bench.engine.view import DeclaredView
from bench.engine.world import World
from bench.store.candidates import CandidateStore
from bench.store.elsewhere import check_results
from bench.store.keyring import Keyring
from bench.store.run import Run
from bench.store.runs import RunFolder


class Evaluation:
    """A job with its models in memory: makes and judges any shard.

    Args:
        job: The evaluation; without a list of ids the first images are used.
        means: Device, folders.
        only_kept: Use stored adversarial images and attack nothing.

    Raises:
        InputError: if the device is not available, or images are missing.
    """

    def __init__(self, job: Job, means: Means, *, only_kept: bool = False) -> None:
        check_device(means.device)
        check_code(job.spec)
        self.spec = spec = job.spec
        self.world = World(Making(spec, means), job.key)
        self.chosen, self.about_data = choose(spec, self.world.test_split, job.ids)
        self.target = self.world.target
        self.threat: Threat = registry("threats").make(spec.threat.name, spec.threat.options)
        self.source = self.threat.source(DeclaredView(self.world, self.threat))
        self.attacker = Attacker(
            spec,
            self.source,
            self._attacks(),
            CandidateStore(means.home.adversarial),
            queries=self.threat.queries,
            only_kept=only_kept,
        )
        eps_zero = spec.budget.eps == 0
        self.members = [] if eps_zero else members_of(self.target.model, spec.profile.image_shape, self.world.device)
        self.judging = Judging(self.world, self.source, means.isolate)
        self.reader = Reader(self.world.test_split, self.chosen, spec.shard_size)

    @property
    def shards(self) -> range:
        """Numbers of all shards."""
        return range(-(-len(self.chosen) // self.spec.shard_size))

    def images(self, index: int) -> list[tuple[str, int]]:
        """Ids and labels of the images of a shard."""
        split = self.world.test_split
        return [(split.ids[p], split.labels[p]) for p in self.reader.positions(index)]

    def shard(self, index: int) -> Shard:
        """Attack and judge the images of one shard; unreadable ones are ERROR."""
        batch, broken = self.reader.read(index)
        rows = {image.image_id: unread(image, self.world.test_split.labels[image.position]) for image in broken}
        warnings = [image.why for image in broken]
        if not len(batch):
            return Shard(index, list(rows.values()), {**about_nothing(), "warnings": warnings})
        batch = batch.to(self.world.device)
        _ = self.judging.answering  # a process of its own starts while this one attacks
        tried = self.attacker.attack(batch)
        more = further(self.spec, batch, tried.images, tried.failed)
        judged, agreement = self.judging.judge(index, batch, tried, list(more.versions.values()))
        columns: dict[str, list[Any]] = dict(more.columns(judged.more))
        if self.members and any(more.valid):
            columns["share"] = shares(self.members, batch, tried.images, more.valid, self.spec.profile.judge_batch)
        labels, pixels = batch.labels.tolist(), batch.images.cpu().numpy()
        for i, image_id in enumerate(batch.ids):
            sha = hashlib.sha256(pixels[i].tobytes()).hexdigest()
            own = {name: values[i] for name, values in columns.items()}
            rows[image_id] = replace(row_of(image_id, labels[i], judged.verdicts[i], tried, i, sha), **own)
        about = {**about_of(tried), **agreement}
        ids = [self.world.test_split.ids[p] for p in self.reader.positions(index)]
        return Shard(index, [rows[i] for i in ids], {**about, "warnings": [*warnings, *about["warnings"]]})

    def effort(self, shards: list[Shard]) -> SourceCost:
        """Arithmetic of the source per image, and the peak of the device if this process attacked on it."""
        image = torch.zeros(1, *self.spec.profile.image_shape, device=self.world.device)
        fresh = any(shard.about["meters"] and not (shard.resumed or shard.about["reused"]) for shard in shards)
        return SourceCost(
            arithmetic(self.source.model, image), peak(self.world.device, self.spec.precision) if fresh else None
        )

    def _attacks(self) -> dict[str, Attack]:
        chosen = [self.spec.attack] + ([self.spec.fallback] if self.spec.fallback else [])
        attacks = {p.name: registry("attacks").make(p.name, p.options) for p in chosen}
        for attack in attacks.values():
            attack.check(self.source.model)
        self._check_gradient([name for name, attack in attacks.items() if attack.needs is Access.GRADIENTS])
        return attacks

    def _check_gradient(self, needing: list[str]) -> None:
        """Refuse a gradient attack on a source without any, before it runs."""
        image = torch.full((1, *self.spec.profile.image_shape), 0.5, device=self.world.device)
        if needing and not gives_gradient(self.source.model, image):
            raise InputError(
                f"the source gives no gradient: its answers do not depend on the image in a way that PyTorch can "
                f"differentiate (quantised or detached), which {' and '.join(needing)} cannot do without; expected "
                f"--attack {' or '.join(attacks_with(Access.SCORES))}, which need none"
            )


class ShardWork:
    """Attack and judge any shard of a job: what a backend maps over the shard numbers.

    It can be sent to another process as data: Spec, ids and means, without models and without the key. The first call
    there makes or loads the models; the key comes from the seed, or from the keyring by its fingerprint.

    Args:
        spec: What is evaluated.
        ids: The ids of the Spec's list of images.
        means: Device, folders.
        evaluation: With its models in memory, in this process.
    """

    def __init__(
        self, spec: Spec, ids: tuple[str, ...] | None, means: Means, evaluation: Evaluation | None = None
    ) -> None:
        self._spec, self._ids, self._means, self._evaluation = spec, ids, means, evaluation

    def __call__(self, index: int) -> Shard:
        """The verdicts of a shard, by its number."""
        if self._evaluation is None:
            key = defender_key(self._spec, Keyring(self._means.home.keys))
            self._evaluation = Evaluation(Job(self._spec, key, self._ids), self._means)
        return self._evaluation.shard(index)

    def __reduce__(self) -> tuple[type[ShardWork], tuple[Spec, tuple[str, ...] | None, Means]]:
        return ShardWork, (self._spec, self._ids, self._means.quiet)


def run(job: Job, means: Means) -> Run:
    """Run the missing shards of a job and write its record; a complete run of the same images is read back.

    Args:
        job: The evaluation.
        means: Device, folders, progress.

    Returns:
        Record and verdicts; ``complete`` says whether they existed already.

    Raises:
        BenchError: for bad input, damaged files, or a full disk; finished shards are kept.
    """
    from bench.engine.quick_audit import look  # noqa: PLC0415 (a second to import; only a run needs it)

    if job.spec.images is None:
        job = replace(job, spec=ImagesHere(means).named(job.spec, job.ids))
    backend: Backend = registry("backends").make(means.backend)
    check_results(means.results.root)
    spec, folder = job.spec, means.results.run(job.run_id)
    if found := _finished(folder):
        folder.tidy()
        return found
    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    evaluation = Evaluation(job, means)
    with folder.locked(), closing(evaluation.judging) as judging:
        if found := _finished(folder):  # another process ended it before this one had the lock
            return found
        work = ShardWork(spec, job.ids, means, evaluation)
        shards = _collect(evaluation, folder, means, lambda items: backend.map(work, items))
        looked = look(evaluation.world, evaluation.threat, evaluation.source, evaluation.chosen)
        record = summarise(
            spec,
            shards,
            target=evaluation.target,
            source=evaluation.source,
            about=[
                *outsiders(spec, means.backend),
                *evaluation.about_data,
                *dict.fromkeys(evaluation.world.notes),
            ],
            adversary=adversary_about(evaluation.threat, spec.attack),
            audit=replace(looked, findings=[*looked.findings, *judging.found(shards, looked.findings)]),
            population=len(evaluation.chosen),
            effort=evaluation.effort(shards),
            seconds=time.monotonic() - clock,
            provenance=provenance(
                started=started,
                argv=list(means.argv),
                device=means.device,
                key_name=means.key_name,
                isolated=judging.isolated,
            ),
        )
        rows = [row for shard in shards for row in shard.rows]
        folder.finish(record, rows)
    return Run(record, tuple(rows), complete=False, folder=folder.path)


def _finished(folder: RunFolder) -> Run | None:
    """The complete run, which is never made again; None where it is missing, or an attack raised in it."""
    if not folder.complete:
        return None
    found = folder.read()
    return None if found.record.metrics.outcomes[Outcome.ERROR] else found


def _collect(
    evaluation: Evaluation, folder: RunFolder, means: Means, made: Callable[[Iterable[int]], Iterator[Shard]]
) -> list[Shard]:
    """The shards that count: those that were finished earlier, and the missing ones as they are ``made``."""
    done: dict[int, Shard] = {}
    for index in evaluation.shards:
        try:
            kept = folder.shard(index, evaluation.images(index))
        except CorruptArtifactError as error:
            means.progress.note(f"warning: shard {index} is made again: {error}")
            continue
        if kept is not None:
            done[index] = Shard(index, *kept, resumed=True)
    enough = Enough(evaluation.spec, len(evaluation.chosen))
    missing = [index for index in evaluation.shards if index not in done]
    before = sum(len(shard.rows) for shard in done.values())
    with stage(means.progress, "attack and judge", len(evaluation.chosen), "image", done=before) as advance:
        for shard in _counted(made(enough.wanted(missing, done)), advance):
            folder.write_shard(shard.index, shard.rows, shard.about)
            done[shard.index] = shard
            for text in shard.about["warnings"] if any(r.image_sha256 is None for r in shard.rows) else []:
                means.progress.note(f"warning: {text}")
    return enough.taken(done)


def _counted(shards: Iterable[Shard], advance: Advance) -> Iterator[Shard]:
    for shard in shards:
        yield shard
        advance(len(shard.rows))

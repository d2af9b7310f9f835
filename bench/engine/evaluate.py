"""One evaluation: shards through attack and judge, resumable, to a record."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import torch

from bench.core.errors import InputError
from bench.core.key import Key
from bench.core.nouns import Outcome, Trained, Verdict
from bench.core.plugins import Attack, Backend, ThreatModel
from bench.core.progress import Advance, Progress, Silent, stage
from bench.core.registry import registry
from bench.core.spec import Spec
from bench.engine.candidates import Attacker, Candidates
from bench.engine.flops import arithmetic, peak
from bench.engine.judge import judge
from bench.engine.provenance import provenance
from bench.engine.summarise import Effort, Shard, summarise
from bench.engine.world import DeclaredView, World
from bench.store.candidates import CandidateStore
from bench.store.files import check_writable
from bench.store.home import Home
from bench.store.models import ModelCache
from bench.store.record import Record
from bench.store.runs import RunFolder, RunStore
from bench.store.verdicts import Row


@dataclass(frozen=True)
class Means:
    """With what a Spec is evaluated; none of it may change a verdict but by rounding."""

    results: RunStore
    home: Home
    device: str = "cpu"
    backend: str = "local"
    rebuild: bool = False
    key_name: str | None = None
    argv: tuple[str, ...] = ()
    progress: Progress = field(default_factory=Silent)


class Evaluation:
    """A Spec with its models at hand: makes and judges any shard.

    Raises:
        InputError: the device is not there.
    """

    def __init__(self, spec: Spec, key: Key | None, means: Means, *, only_kept: bool = False) -> None:
        _check_device(means.device)
        self.spec = spec
        cache = ModelCache(means.home.models, rebuild=means.rebuild)
        self.world = World(spec, key, cache, means.device, means.progress)
        self.target = self.world.target
        self.source = self._source()
        self._attacker = Attacker(
            spec, self.source, self._attacks(), CandidateStore(means.home.adversarial), only_kept=only_kept
        )
        self.images = min(len(self.world.test_split.ids), spec.limit or len(self.world.test_split.ids))

    @property
    def shards(self) -> range:
        """Numbers of all shards."""
        return range(-(-self.images // self.spec.shard_size))

    def shard(self, index: int) -> Shard:
        """Attack and judge the images of one shard."""
        size = self.spec.shard_size
        batch = self.world.test_split.read(range(index * size, min((index + 1) * size, self.images)))
        batch = batch.to(self.world.device)
        tried = self._attacker.attack(batch)
        verdicts = judge(self.target.model, batch, tried.images, self.spec.ball)
        labels = batch.labels.tolist()
        rows = [_row(batch.ids[i], labels[i], verdicts[i], tried, i) for i in range(len(batch))]
        return Shard(index, rows, _about(tried))

    def effort(self, shards: list[Shard]) -> Effort:
        """Arithmetic of the source for one image, and the peak of the device where this process attacked on it."""
        image = self.world.test_split.read([0]).to(self.world.device).images
        fresh = any(shard.about["meters"] and not (shard.resumed or shard.about["reused"]) for shard in shards)
        return Effort(
            arithmetic(self.source.model, image), peak(self.world.device, self.spec.precision) if fresh else None
        )

    def _source(self) -> Trained:
        threat: ThreatModel = registry("threats").make(self.spec.threat.name, self.spec.threat.options)
        return threat.source(DeclaredView(self.world, threat))

    def _attacks(self) -> dict[str, Attack]:
        chosen = [self.spec.attack] + ([self.spec.fallback] if self.spec.fallback else [])
        return {p.name: registry("attacks").make(p.name, p.options) for p in chosen}


def evaluate(spec: Spec, key: Key | None, means: Means) -> tuple[Record, bool]:
    """Run what is missing of a Spec and write its record.

    Args:
        spec: What to evaluate.
        key: The defender's key, None where the defense has none.
        means: Device, folders, who is told.

    Returns:
        The record, and whether it was complete already.

    Raises:
        BenchError: bad input, damaged files, a disk that is full; finished shards are kept.
    """
    check_writable(means.results.root)
    folder = means.results.run(spec.run_id)
    if folder.record_path.exists():
        record, _ = folder.read()
        if not record.metrics.outcomes[Outcome.ERROR]:
            return record, True
    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    evaluation = Evaluation(spec, key, means)
    with folder.locked():
        shards = _collect(evaluation, folder, means)
        record = summarise(
            spec,
            shards,
            target=evaluation.target,
            source=evaluation.source,
            base=evaluation.world.base,
            data=evaluation.world.test_split.digest(),
            effort=evaluation.effort(shards),
            seconds=time.monotonic() - clock,
            provenance=provenance(started=started, argv=list(means.argv), device=means.device, key_name=means.key_name),
        )
        folder.finish(record, [row for shard in shards for row in shard.rows])
    return record, False


def _collect(evaluation: Evaluation, folder: RunFolder, means: Means) -> list[Shard]:
    done: dict[int, Shard] = {}
    for index in evaluation.shards:
        kept = folder.shard(index)
        if kept is not None:
            done[index] = Shard(index, *kept, resumed=True)
    backend: Backend = registry("backends").make(means.backend)
    missing = [index for index in evaluation.shards if index not in done]
    with stage(means.progress, "attack and judge", evaluation.images, "image") as advance:
        advance(sum(len(shard.rows) for shard in done.values()))
        for shard in _run(backend, evaluation.shard, missing, advance):
            folder.write_shard(shard.index, shard.rows, shard.about)
            done[shard.index] = shard
    return [done[index] for index in evaluation.shards]


def _run(backend: Backend, work: Callable[[int], Shard], items: list[int], advance: Advance) -> Iterator[Shard]:
    for shard in backend.map(work, items):
        yield shard
        advance(len(shard.rows))


def _row(image_id: str, label: int, verdict: Verdict, tried: Candidates, i: int) -> Row:
    if tried.failed[i]:  # what was judged is the clean image: nothing is known of an attacked one
        verdict = Verdict(Outcome.ERROR, verdict.clean_prediction, None, None)
    return Row(
        image_id,
        label,
        verdict.clean_prediction,
        verdict.adversarial_prediction,
        verdict.outcome,
        verdict.distance,
        tried.attacks[i],
        tried.source_predictions[i],
    )


def _about(tried: Candidates) -> dict[str, Any]:
    return {
        "meters": [{name: asdict(meter) for name, meter in m.meters.items()} for m in tried.made],
        "seconds": round(sum(m.seconds for m in tried.made), 3),
        "reused": bool(tried.made) and all(m.reused for m in tried.made),
        "warnings": list(dict.fromkeys(w for m in tried.made for w in m.warnings)),
    }


def _check_device(device: str) -> None:
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError):
        raise InputError(f"device {device!r} is not available here; expected cpu, or cuda on a machine with a GPU") \
            from None  # fmt: skip

"""A job with its models in memory: any shard of it, attacked and judged."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import torch

from bench.core.devices import check_device
from bench.core.errors import InputError
from bench.core.nouns import Access
from bench.core.plugins import Attack, Threat
from bench.core.registry import registry
from bench.engine.candidates import Attacker
from bench.engine.flops import arithmetic, gives_gradient, peak
from bench.engine.further import further
from bench.engine.job import Job
from bench.engine.judging import Judging
from bench.engine.making import Making
from bench.engine.means import Means
from bench.engine.members import members_of, shares
from bench.engine.resolve import attacks_with
from bench.engine.shard_rows import about_nothing, about_of, row_of, unjudged
from bench.engine.shards import Reader, Shard, choose, shuffled
from bench.engine.summarise import SourceCost
from bench.engine.two_phases import first_of
from bench.engine.versions import check_code
from bench.engine.view import DeclaredView
from bench.engine.world import World
from bench.store.candidates import CandidateStore


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
        self.job, self.spec = job, job.spec
        spec = job.spec
        self.world = World(Making(spec, means), job.key)
        self.chosen, self.about_data = choose(spec, self.world.test_split, job.ids)
        self.target = self.world.target
        self.threat: Threat = registry("threats").make(spec.threat.name, spec.threat.options)
        self.source = self.threat.source(DeclaredView(self.world, self.threat))
        store, attacks = CandidateStore(means.home.adversarial), self._attacks()
        queries = self.threat.queries
        self.attacker = Attacker(spec, self.source, attacks, store, queries=queries, only_kept=only_kept)
        order = self.chosen
        self._first: Attacker | None = None  # of a run in two phases
        if spec.estimate is not None:
            part = first_of(spec)
            plugin = {part.attack.name: registry("attacks").make(part.attack.name, part.attack.options)}
            self._first = Attacker(part, self.source, plugin, store, queries=queries, only_kept=only_kept)
            order = [self.chosen[i] for i in shuffled(spec, len(self.chosen))]
        eps_zero = spec.budget.eps == 0
        self.members = [] if eps_zero else members_of(self.target.model, spec.profile.image_shape, self.world.device)
        self._check_estimate()
        self.judging = Judging(self.world, self.source, means.isolate)
        self.reader = Reader(self.world.test_split, order, spec.shard_size)
        self._attacked = False  # in this process

    @property
    def shards(self) -> range:
        """Numbers of all shards, of both phases if there are two."""
        return range(self._phase * (2 if self._first else 1))

    @property
    def judgements(self) -> int:
        """Images in all shards."""
        return len(self.chosen) * (2 if self._first else 1)

    @property
    def _phase(self) -> int:
        """Number of shards of one phase."""
        return -(-len(self.chosen) // self.spec.shard_size)

    def images(self, index: int) -> list[tuple[str, int]]:
        """Ids and labels of the images of a shard."""
        split = self.world.test_split
        return [(split.ids[p], split.labels[p]) for p in self.reader.positions(index % self._phase)]

    def shard(self, index: int) -> Shard:
        """Attack and judge the images of one shard; unreadable ones are ERROR."""
        place = index % self._phase
        attacker = self._first if self._first and index < self._phase else self.attacker
        batch, broken = self.reader.read(place)
        rows = {
            image.image_id: unjudged(image.image_id, self.world.test_split.labels[image.position]) for image in broken
        }
        warnings = [image.why for image in broken]
        if not len(batch):
            return Shard(index, list(rows.values()), {**about_nothing(), "warnings": warnings})
        batch = batch.to(self.world.device)
        _ = self.judging.answering  # a process of its own starts while this one attacks
        tried = attacker.attack(batch)
        self._attacked |= any(not made.reused for made in tried.made)
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
        ids = [self.world.test_split.ids[p] for p in self.reader.positions(place)]
        return Shard(index, [rows[i] for i in ids], {**about, "warnings": [*warnings, *about["warnings"]]})

    def aside(self, index: int, why: str) -> Shard:
        """The shard without verdicts of a shard that cannot be judged: all its images are ERROR."""
        rows = [unjudged(image_id, label) for image_id, label in self.images(index)]
        return Shard(index, rows, {**about_nothing(), "warnings": [f"shard {index} {why}"]})

    def effort(self) -> SourceCost:
        """Arithmetic of the source per image, and the peak of the device if this process attacked on it."""
        image = torch.zeros(1, *self.spec.profile.image_shape, device=self.world.device)
        flops = arithmetic(self.source.model, image)
        return SourceCost(flops, peak(self.world.device, self.spec.precision) if self._attacked else None)

    def _attacks(self) -> dict[str, Attack]:
        chosen = [self.spec.attack] + ([self.spec.fallback] if self.spec.fallback else [])
        attacks = {p.name: registry("attacks").make(p.name, p.options) for p in chosen}
        for attack in attacks.values():
            attack.check(self.source.model)
        self._check_gradient([name for name, attack in attacks.items() if attack.needs is Access.GRADIENTS])
        return attacks

    def _check_estimate(self) -> None:
        """Refuse two phases where the whole attack may spare an image that its first part fooled."""
        if self._first is None:
            return
        if self.source.digest != self.target.digest:
            raise InputError(f"--estimate needs the target itself as source, and {self.spec.threat.name} attacks "
                             "another model: an image that fools that one ends the attack, and its verdict on the "
                             "target may go either way; expected --threat white-box or a full run")  # fmt: skip
        if self.members:
            raise InputError("--estimate needs a model that answers alike every time, and this one draws a member; "
                             "expected a full run")  # fmt: skip

    def _check_gradient(self, needing: list[str]) -> None:
        """Refuse a gradient attack on a source without any, before it runs."""
        image = torch.full((1, *self.spec.profile.image_shape), 0.5, device=self.world.device)
        if needing and not gives_gradient(self.source.model, image):
            raise InputError(
                f"the source gives no gradient: its answers do not depend on the image in a way that PyTorch can "
                f"differentiate (quantised or detached), which {' and '.join(needing)} cannot do without; expected "
                f"--attack {' or '.join(attacks_with(Access.SCORES))}, which need none"
            )

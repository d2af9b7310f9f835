"""The cheap checks of the battery, on a few of a run's own images."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from torch import nn

from bench.checks.battery import Finding, Status, Subject, quick
from bench.checks.battery.draws import pick
from bench.core.errors import InputError
from bench.core.nouns import Batch, Trained
from bench.core.plugins import Knowledge, Threat
from bench.engine.shards import Reader
from bench.engine.summarise import Looked
from bench.engine.world import World
from bench.store.record import Found

# Images of the first look; and of a second one if a check warns that more of them may prove.
_IMAGES, _AGAIN = 16, 64
_PROVEN_BY_MORE = frozenset({"rise", "jumps", "moved copies"})
# What an adversary knows who makes models by the defender's method, and nothing more than the public knows.
_MADE_ALIKE = frozenset({Knowledge.MECHANISM, Knowledge.SIBLING})


def look(world: World, threat: Threat, source: Trained, chosen: list[int]) -> Looked:
    """Findings of the cheap checks on target and source; none if the ball has radius 0.

    Args:
        world: The deployment.
        threat: The threat.
        source: The model that the attack saw.
        chosen: Positions of the run's images, a few of which are selected by the seed.
    """
    if world.spec.budget.eps == 0:
        return Looked()
    found, count = _looked(world, threat, source, chosen, _IMAGES)
    if count < len(chosen) and any(f.status is Status.WARN and f.check in _PROVEN_BY_MORE for f in found):
        found, count = _looked(world, threat, source, chosen, _AGAIN)
    return Looked([found_of(finding) for finding in found], count)


def _looked(world: World, threat: Threat, source: Trained, chosen: list[int], images: int) -> tuple[list[Finding], int]:
    """Findings on a number of the run's images, and how many of them could be read."""
    spec, name = world.spec, world.spec.threat.name
    drawn = [chosen[i] for i in pick(spec.seed, len(chosen), min(images, len(chosen)), "test")]
    batch, _ = Reader(world.test_split, drawn, len(drawn)).read(0)
    if not len(batch):
        return [], 0
    kin = _MADE_ALIKE & threat.knows and threat.knows <= _MADE_ALIKE | {Knowledge.PRETRAINED}
    transfers = isinstance(source.model, nn.Module) and source.digest != world.target.digest
    subject = Subject(
        target=cast("nn.Module", world.target.model),
        batch=batch.to(world.device),
        classes=spec.profile.classes,
        budget=spec.budget,
        seed=spec.seed,
        base=_base(world),
        fresh=_training_images(world),
        substitutes={name: cast("nn.Module", source.model)} if transfers else {},
        kin=frozenset({name}) if kin else frozenset(),
        again=again_of(world),
        keyed=world.defense.keyed,
    )
    return quick(subject), len(batch)


def again_of(world: World) -> Callable[[], nn.Module]:
    """How to load the target once more from its files, apart from the one that has been queried."""
    return lambda: cast("nn.Module", World(world.maker, world.holders.key).target.model)


def _training_images(world: World) -> Batch | None:
    """A few images that the defense was trained on; None if they are not at hand."""
    if world.defense.ready:
        return None
    try:
        split = world.train_split
        batch, _ = Reader(split, pick(world.spec.seed, len(split.ids), _IMAGES, "train"), _IMAGES).read(0)
    except InputError:
        return None
    return batch.to(world.device) if len(batch) else None


def _base(world: World) -> nn.Module | None:
    """The undefended model, for comparison with a keyed one."""
    if not world.defense.keyed:
        return None
    try:
        return cast("nn.Module", world.base.model)
    except InputError:
        return None


def found_of(finding: Finding) -> Found:
    """A finding in the record's format."""
    return Found(check=finding.check, status=finding.status.value, figure=finding.figure, meaning=finding.meaning)

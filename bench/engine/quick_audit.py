"""The cheap checks of the battery, on a few of a run's own images."""

from __future__ import annotations

from typing import cast

from torch import nn

from bench.checks.battery import Finding, Subject, quick
from bench.checks.battery.draws import pick
from bench.core.errors import InputError
from bench.core.nouns import Trained
from bench.engine.shards import Reader
from bench.engine.world import World
from bench.store.record import Found

_IMAGES = 16


def look(world: World, threat: str, source: Trained, chosen: list[int]) -> list[Found]:
    """What the checks that need no attack say of target and source; nothing where the ball is a point.

    Args:
        world: The deployment.
        threat: Its name.
        source: What the attack saw.
        chosen: Positions of the run's images, of which a few are drawn by the seed.
    """
    spec = world.spec
    if spec.budget.eps == 0:
        return []
    drawn = [chosen[i] for i in pick(spec.seed, len(chosen), min(_IMAGES, len(chosen)), "test")]
    batch, _ = Reader(world.test_split, drawn, len(drawn)).read(0)
    if not len(batch):
        return []
    transfers = isinstance(source.model, nn.Module) and source.digest != world.target.digest
    subject = Subject(
        target=cast("nn.Module", world.target.model),
        batch=batch.to(world.device),
        classes=spec.profile.classes,
        budget=spec.budget,
        seed=spec.seed,
        base=_base(world),
        substitutes={threat: cast("nn.Module", source.model)} if transfers else {},
        keyed=world.defense.keyed,
    )
    return [found_of(finding) for finding in quick(subject)]


def _base(world: World) -> nn.Module | None:
    """The undefended model, which a keyed one is compared with."""
    if not world.defense.keyed:
        return None
    try:
        return cast("nn.Module", world.base.model)
    except InputError:
        return None


def found_of(finding: Finding) -> Found:
    """A finding as it is written down."""
    return Found(check=finding.check, status=finding.status.value, figure=finding.figure, meaning=finding.meaning)

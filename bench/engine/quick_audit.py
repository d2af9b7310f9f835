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
    """Findings of the attack-free checks on target and source; none if the ball has radius 0.

    Args:
        world: The deployment.
        threat: Name of the threat.
        source: The model that the attack saw.
        chosen: Positions of the run's images, a few of which are selected by the seed.
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

"""The further measurements of a submission, made again with its verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from torch import Tensor

from bench.core.nouns import Batch, Outcome, Verdict
from bench.engine.answering import Answering
from bench.engine.further import OTHER, further
from bench.engine.judge import decide
from bench.engine.members import members_of, shares
from bench.engine.world import World
from bench.store.verdicts import Row

SHARE = "share"


class Remeasure:
    """Judges the images of a run again, with all that its rows hold.

    Args:
        world: The deployment, with models.
        target: Its target, as it answers the judge.
        rows: All rows of the run; what none of them holds is not measured.
    """

    def __init__(self, world: World, target: Answering, rows: Sequence[Row]) -> None:
        self._spec, self.target = world.spec, target
        later = [found.name for found in fields(Row) if found.default is None]
        self.columns = [name for name in later if any(getattr(row, name) is not None for row in rows)]
        self.unchecked: set[str] = set()
        shape, device = world.spec.profile.image_shape, world.device
        self._members = members_of(world.target.model, shape, device) if SHARE in self.columns else []

    def judge(
        self, rows: Sequence[Row], batch: Batch, x_adv: Tensor, *, whole: bool
    ) -> tuple[list[Verdict], list[str]]:
        """Verdicts, and what differs in the further measurements, one line each.

        Args:
            rows: Of the images.
            batch: The images.
            x_adv: Their candidates, (B, C, H, W).
            whole: Whether the images are all of their shard, so that each one's other image is among them.
        """
        spec, judge_batch = self._spec, self._spec.profile.judge_batch
        more = further(spec, batch, x_adv, [row.outcome is Outcome.ERROR for row in rows])
        if not whole and more.versions.pop(OTHER, None) is not None:
            self.unchecked.add(OTHER)
        judged = decide(self.target, batch, x_adv, spec.budget, list(more.versions.values()))
        got: dict[str, Sequence[Any]] = dict(more.columns(judged.more))
        if self._members:
            got[SHARE] = shares(self._members, batch, x_adv, more.valid, judge_batch)
        return judged.verdicts, self._differences(rows, got)

    def _differences(self, rows: Sequence[Row], got: dict[str, Sequence[Any]]) -> list[str]:
        out = []
        for name in self.columns:
            if name not in self.unchecked:
                here = got.get(name, [None] * len(rows))
                out += [
                    f"{row.image_id}: {name} {new}, the record says {getattr(row, name)}"
                    for row, new in zip(rows, here, strict=True)
                    if getattr(row, name) != new
                ]
        return out

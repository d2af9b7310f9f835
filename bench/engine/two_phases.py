"""Runs in two phases (``--estimate``): the attack's first part on all images, the whole attack on a random sample.

The shards of such a run are numbered twice: 0 to n - 1 for the first part, n to 2 n - 1 for the whole attack on the
same images, in the same random order. The second ones are made in order until the interval is narrow enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from bench.checks.statistics import Counts, TwoPhase
from bench.core.errors import InputError
from bench.core.plugins import Attack
from bench.core.registry import registry
from bench.core.spec import Spec
from bench.engine.shards import Shard, shuffled
from bench.engine.versions import named
from bench.store.verdicts import Row

FIRST, WHOLE = 1, 2  # of the column ``phase``


def first_of(spec: Spec) -> Spec:
    """The Spec of the first phase: the attack's first part, without fallback.

    Raises:
        InputError: if the attack declares no such part.
    """
    attack: Attack = registry("attacks").make(spec.attack.name, spec.attack.options)
    part = attack.first_part()
    if part is None:
        raise InputError(f"attack {spec.attack.name} with these options declares no cheap first part, which --estimate "
                         "runs on all images; expected autoattack in mode first with two attacks or more")  # fmt: skip
    return spec.model_copy(update={"attack": named("attacks", spec.attack.name, part), "fallback": None})


def rows_of(spec: Spec, shards: Sequence[Shard]) -> list[Row]:
    """The verdicts of a run from its shards that count, in the order of the Spec.

    Of an image that the first part left robust, the verdict of the whole attack counts if there is one.
    """
    if spec.estimate is None:
        return [row for shard in shards for row in shard.rows]
    rows: dict[str, Row] = {}
    for row in (row for shard in shards for row in shard.rows):
        before = rows.get(row.image_id)
        if before is None:
            rows[row.image_id] = replace(row, phase=FIRST)
        elif before.robust:
            rows[row.image_id] = replace(row, phase=WHOLE)
    order = shuffled(spec, len(rows))
    return [row for _, row in sorted(zip(order, rows.values(), strict=True), key=lambda pair: pair[0])]


def counts_of(rows: Iterable[Row]) -> Counts:
    """The counts of a run in two phases, from its verdicts alone."""
    images = survivors = sampled = fell = 0
    for row in rows:
        images += 1
        whole = row.phase == WHOLE
        survivors += whole or row.robust
        sampled += whole
        fell += whole and not row.robust
    return Counts(images, survivors, sampled, fell)


def last_needed(rule: TwoPhase, done: Mapping[int, Shard], shards: int) -> int | None:
    """The first shard after which a run may end, with all earlier ones present; None if more are needed.

    Args:
        rule: When to end.
        done: Finished shards.
        shards: Number of shards of one phase.
    """
    if any(index not in done for index in range(shards)):
        return None
    first = [row for index in range(shards) for row in done[index].rows]
    standing = {row.image_id for row in first if row.robust}
    counts, index = Counts(len(first), len(standing), 0, 0), shards - 1
    while not rule.done(counts):
        index += 1
        if index not in done:
            return None
        whole = [row.robust for row in done[index].rows if row.image_id in standing]
        counts = counts._replace(sampled=counts.sampled + len(whole), fell=counts.fell + len(whole) - sum(whole))
    return index


def out_of_order(spec: Spec, rows: Sequence[Row]) -> str | None:
    """The image that shows that the sample is not the one that the seed draws; None if it is."""
    at = {place: turn for turn, place in enumerate(shuffled(spec, len(rows)))}
    standing = ((at[place], row) for place, row in enumerate(rows) if row.phase == WHOLE or row.robust)
    turns = sorted(standing, key=lambda pair: pair[0])
    sampled = [row for _, row in turns if row.phase == WHOLE]
    return next((row.image_id for (_, row), own in zip(turns, sampled, strict=False) if row is not own), None)

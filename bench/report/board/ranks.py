"""Ranks in a group, the ranks that the intervals allow, and standings that a larger one supersedes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from bench.core.selection import ROBUSTBENCH
from bench.report.board.model import Group, Standing


def ranked(standings: Iterable[Standing]) -> list[Standing]:
    """The same standings with rank and rank interval; those that are not eligible, incomplete or stated have none.

    The rank interval counts a standing as better only if its interval lies entirely above. It is conservative: it is
    valid for every pair of standings with valid intervals, and a paired comparison may separate two defenses with
    overlapping intervals.
    """
    groups: dict[Group, list[Standing]] = defaultdict(list)
    out: list[Standing] = []
    for standing in standings:
        if standing.ranked:
            groups[standing.group].append(standing)
        else:
            out.append(replace(standing, rank=None, rank_interval=None))
    for members in groups.values():
        out += _placed(members)
    return out


def superseded(standings: Iterable[Standing]) -> list[Standing]:
    """The same standings; of one defense on several numbers of images in order, only the largest can be ranked.

    Nobody can thus choose the number after the fact where a larger one is known.
    """
    out = list(standings)
    most: dict[tuple[object, ...], Standing] = {}
    for standing in filter(_in_order, out):
        most[_but_images(standing)] = max(most.get(_but_images(standing), standing), standing, key=lambda s: s.images)
    return [_over(standing, most[_but_images(standing)]) if _in_order(standing) else standing for standing in out]


def _in_order(standing: Standing) -> bool:
    """Whether it may be ranked, on the first images of a data set."""
    return standing.ranked and standing.group.kind == "measured" and standing.group.images != ROBUSTBENCH


def _over(standing: Standing, larger: Standing) -> Standing:
    if larger.images == standing.images:
        return standing
    said = f"{larger.group.images} were judged too; a rank needs the largest number that is known"
    return replace(standing, badges=replace(standing.badges, missing=(*standing.badges.missing, said)))


def _but_images(standing: Standing) -> tuple[object, ...]:
    group = standing.group
    return standing.same, group.profile, group.norm, group.eps, group.scope, group.protocol, group.adversary


def _placed(members: Sequence[Standing]) -> list[Standing]:
    robust = np.array([s.robust for s in members])
    low, high = np.array([s.interval for s in members]).T
    better = (robust[None, :] > robust[:, None]).sum(1)
    above = (low[None, :] > high[:, None]).sum(1)
    below = (high[None, :] < low[:, None]).sum(1)
    return [
        replace(s, rank=1 + int(better[i]), rank_interval=(1 + int(above[i]), len(members) - int(below[i])))
        for i, s in enumerate(members)
    ]

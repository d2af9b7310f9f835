"""Ranks in a group, and the ranks that the intervals allow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from bench.report.board.model import Group, Standing


def ranked(standings: Iterable[Standing]) -> list[Standing]:
    """The same standings with rank and rank interval; those that are not eligible have neither.

    The rank interval counts a standing as better only if its interval lies entirely above. It is conservative: it is
    valid for every pair of standings with valid intervals, and a paired comparison may separate two defenses with
    overlapping intervals.
    """
    groups: dict[Group, list[Standing]] = defaultdict(list)
    out: list[Standing] = []
    for standing in standings:
        if standing.badges.eligible:
            groups[standing.group].append(standing)
        else:
            out.append(replace(standing, rank=None, rank_interval=None))
    for members in groups.values():
        out += _placed(members)
    return out


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

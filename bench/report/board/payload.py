"""The board as plain data for the scripts of its pages: JSON-compatible."""

from __future__ import annotations

import base64
from collections import Counter
from fractions import Fraction
from typing import Any

import numpy as np

from bench.report.board.model import Board, Curve, Group, RungLine, RunPage, Standing

Data = dict[str, Any]


def payload(board: Board) -> Data:
    """``standings``: a flat object for each; ``runs``: by run id, the names for a list or a comparison."""
    sizes = Counter(standing.group for standing in board.standings if standing.ranked)
    return {
        "standings": [_standing(standing, sizes) for standing in board.standings],
        "runs": {page.evidence.record.run_id: _run(page) for page in board.runs},
    }


def run_payload(page: RunPage) -> Data:
    """One run for paired comparison and charts.

    ``outcomes`` is base64 of one bit per image, 1 for robust, in the order of the rows, with the first image in the
    highest bit of the first byte. Two runs may be paired if ``data`` is the same for both.
    """
    return {
        "id": page.evidence.record.run_id,
        **_run(page),
        "outcomes": bits(page),
        "ladder": [_rung(rung) for rung in page.ladder],
        "curves": [_curve(curve) for curve in page.curves],
    }


def bits(page: RunPage) -> str:
    """The robust images as packed bits."""
    rows = page.evidence.rows
    robust = np.fromiter((row.robust for row in rows), np.bool_, len(rows))
    return base64.b64encode(np.packbits(robust).tobytes()).decode("ascii")


def _run(page: RunPage) -> Data:
    record = page.evidence.record
    metrics, budget = record.metrics, record.spec.budget
    low, high = metrics.robust_accuracy_interval
    return {
        "title": page.title,
        "robust": metrics.robust_accuracy,
        "low": low,
        "high": high,
        "clean": metrics.clean_accuracy,
        "n": metrics.images,
        "norm": str(budget.norm),
        "eps": str(budget.eps),
        "protocol": str(record.spec.protocol),
        "data": record.digests.data,
    }


def _standing(standing: Standing, sizes: Counter[Group]) -> Data:
    group, badges = standing.group, standing.badges
    source_low, source_high = standing.source_clean or (None, None)
    rank_low, rank_high = standing.rank_interval or (None, None)
    return {
        "id": standing.standing_id,
        "kind": group.kind,
        "defense": standing.defense,
        "title": standing.title,
        "profile": group.profile,
        "norm": group.norm,
        "eps": group.eps,
        "eps_value": float(Fraction(group.eps)),
        "scope": str(group.scope),
        "protocol": group.protocol,
        "adversary": group.adversary,
        "n": standing.images,
        "images": f"{group.images} ({group.data[:6]})" if group.data else group.images,
        "group": group.name,
        "group_size": sizes[group],
        "keys": standing.keys,
        "clean": standing.clean,
        "robust": standing.robust,
        "tries": standing.tries,
        "best_single": standing.best_single,
        "low": standing.interval[0],
        "high": standing.interval[1],
        "worst_key": standing.worst_key,
        "source_low": source_low,
        "source_high": source_high,
        "tiers": list(standing.tiers),
        "adversaries": list(standing.adversaries),
        "first_break": standing.first_break,
        "rank": standing.rank,
        "rank_low": rank_low,
        "rank_high": rank_high,
        "weakest_run": standing.weakest_run,
        "runs": list(standing.runs),
        "aside": list(standing.aside),
        "source": standing.source,
        "audit": badges.audit,
        "verification": badges.verification,
        "eligible": badges.eligible,
        "against": list(badges.against),
        "weak_source": badges.weak_source,
        "missing": list(badges.missing),
    }


def _rung(rung: RungLine) -> Data:
    return {
        "id": rung.run_id,
        "tier": rung.tier,
        "threat": rung.threat,
        "attack": rung.attack,
        "robust": rung.robust,
        "low": rung.interval[0],
        "high": rung.interval[1],
        "source_clean": rung.source_clean,
        "worst_so_far": rung.worst_so_far,
    }


def _curve(curve: Curve) -> Data:
    points = [
        {
            "eps": point.eps,
            "eps_text": point.eps_text,
            "robust": point.robust,
            "low": point.interval[0],
            "high": point.interval[1],
            "n": point.images,
            "id": point.run_id,
        }
        for point in curve.points
    ]
    return {"name": curve.name, "points": points}

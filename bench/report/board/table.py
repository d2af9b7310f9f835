"""The standings as one CSV file: one line each, in the order of the board."""

from __future__ import annotations

import csv
import io
from typing import Any

from bench.report.board.model import Board, Standing

_DIGITS = 6  # of a fraction; a record has more


def standings_csv(board: Board) -> str:
    """CSV text with a header; fractions in [0, 1]. The same board gives the same text."""
    out = io.StringIO()
    lines = [_line(standing) for standing in board.standings]
    writer = csv.DictWriter(out, list(lines[0]) if lines else ["defense"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()


def _line(standing: Standing) -> dict[str, Any]:
    group, badges = standing.group, standing.badges
    low, high = standing.interval
    first, last = standing.rank_interval or ("", "")
    return {
        "kind": group.kind,
        "profile": group.profile,
        "norm": group.norm,
        "eps": group.eps,
        "scope": str(group.scope),
        "protocol": group.protocol,
        "adversary": group.adversary,
        "selection": group.images,
        "data": group.data,
        "rank": "" if standing.rank is None else standing.rank,
        "rank_from": first,
        "rank_to": last,
        "defense": standing.title,
        "clean": _share(standing.clean),
        "robust_at_most": _share(standing.robust),
        "tries": standing.tries,
        "best_single": _share(standing.best_single),
        "low": _share(low),
        "high": _share(high),
        "worst_key": _share(standing.worst_key),
        "images": standing.images,
        "keys": standing.keys,
        "first_break": standing.first_break or "",
        "audit": badges.audit,
        "verification": badges.verification,
        "eligible": "yes" if badges.eligible else "no",
        "missing": "; ".join(badges.missing),
        "runs": len(standing.runs),
        "source": standing.source or "",
    }


def _share(share: float | None) -> float | str:
    return "" if share is None else round(share, _DIGITS)

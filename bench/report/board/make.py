"""Builds the board from a set of runs and the published figures."""

from __future__ import annotations

from collections.abc import Sequence

from bench.core.nouns import Protocol
from bench.report.board.facts import Fact, facts_of
from bench.report.board.line import by_campaign
from bench.report.board.model import Board, Standing
from bench.report.board.pages import run_pages
from bench.report.board.paper import paper_standings
from bench.report.board.published import reported_standings
from bench.report.board.ranks import ranked, superseded
from bench.report.board.strict import broken_by, strict_standings
from bench.store.evidence import Evidence


def make_board(evidence: Sequence[Evidence], *, reported: bool = True) -> Board:
    """Standings and pages. The same runs, in any order, give the same board.

    Args:
        evidence: Runs whose records agree with their verdicts.
        reported: Whether to include the published figures.
    """
    facts = facts_of(evidence)
    standings = reported_standings() if reported else []
    for members in by_campaign([fact for fact in facts if fact.attacked and not fact.estimated]).values():
        standings += _campaign(members)
    return Board(standings=tuple(sorted(ranked(superseded(standings)), key=_order)), runs=run_pages(facts))


def _campaign(facts: Sequence[Fact]) -> list[Standing]:
    strict = [fact for fact in facts if fact.record.spec.protocol is Protocol.STRICT]
    paper = [fact for fact in facts if fact.record.spec.protocol is Protocol.PAPER]
    return [*strict_standings(strict), *paper_standings(paper, broken_by(strict))]


def _order(standing: Standing) -> tuple[str, str, float, float, str]:
    """Kind by kind and group by group; within a group from the best to those without a rank."""
    place = float("inf") if standing.rank is None else standing.rank
    return standing.group.kind, standing.group.name, place, -standing.robust, standing.standing_id

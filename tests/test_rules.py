"""One truth: tier, worst case, first break and eligibility are the same in record, ladder, table and board.

Over all committed records, and with an outsider's attack whether or not it is installed.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

import pandas as pd
import pytest

from bench.checks.suites import Scope
from bench.checks.tiers import TRANSFER
from bench.core.nouns import Protocol
from bench.core.registry import registry
from bench.engine.request import Request
from bench.engine.resolve import resolve
from bench.report.board import make_board
from bench.report.board.payload import payload
from bench.report.table1 import table1
from bench.store.evidence import Evidence
from bench.store.keyring import Keyring
from bench.store.runs import RunStore
from bench.store.suites import Cell
from bench.studies.rungs import Climbed, ladder_record
from tests.unit.report.synthetic import run

RESULTS = Path(__file__).parents[1] / "results"
TIERS = ["T0", "T1", "T1+", "T1s", "T2", "T3", "T4", "T5"]
PAPER = {("linf", "T5"): "linf_white_box"} | {
    (norm, tier): f"{norm}_{threat}"
    for norm in ("linf", "l2")
    for tier, threat in (("T0", "non_adaptive"), ("T1", "adaptive"))
}


@pytest.fixture(scope="module")
def committed():
    store = RunStore(RESULTS)
    found = [store.run(run_id).read() for run_id in store.ids()]
    assert len(found) == 540
    return [Evidence(run.record, run.rows) for run in found]


def campaigns(evidence):
    """Strict runs under attack by campaign and deployment, as the documents say: no code of the board's."""
    out = defaultdict(lambda: defaultdict(list))
    for e in evidence:
        spec = e.record.spec
        if spec.protocol is Protocol.STRICT and spec.budget.eps > 0:
            images = tuple(row.image_id for row in e.rows)
            out[spec.profile.model_dump_json(), spec.defense.model_dump_json(), spec.budget, images][
                e.record.digests.target
            ].append(e)
    return list(out.values())


def frame(found):
    """Who is robust: an image a row, a run a column."""
    return pd.DataFrame({e.record.run_id: pd.Series({r.image_id: r.outcome.value == "robust" for r in e.rows})
                         for e in found})  # fmt: skip


def worst_by_hand(found):
    """The share left up to each tier of one deployment, from the rows."""
    table, tiers = frame(found), {e.record.run_id: e.record.tier for e in found}
    met = [tier for tier in TIERS if tier in tiers.values()]
    below = {tier: [i for i, own in tiers.items() if TIERS.index(own) <= TIERS.index(tier)] for tier in met}
    return {tier: table[below[tier]].all(axis=1).mean() for tier in met}


def ladder(found):
    return ladder_record(Climbed("all", found), broken_below=0.5, seconds=0)


def tables(rows):
    """What Table I says of each row of deployments: tiers of its worst case, that worst case, what breaks first."""
    cells = [
        Cell(row, f"strict {e.record.run_id}", device, "", e)
        for row, deployments in rows.items()
        for device, found in enumerate(deployments)
        for e in found
    ]
    made = table1(cells, "digits")
    (strict,) = made.beside
    worst = {line["row"]: line for line in made.table.data if line["column"] == "strict_worst_case"}
    at, out = strict.header.index("first broken by"), {}
    for row, line in zip(rows, strict.body, strict=True):
        broken = line[at].split("\n")[0]
        out[row] = worst[row]["tiers"].split(), worst[row]["measured"], None if "none" in broken else broken
    return out


def board_of(evidence):
    return make_board(evidence, reported=False)


def flattered(record):
    """Reasons that cost a run its eligibility on a ladder: not a weak source."""
    return [reason for reason in record.ineligible_because if reason.code != "weak-source"]


def check_deployment(found, pages, table):
    by_hand, made = worst_by_hand(found), ladder(found)
    tiers = {e.record.run_id: e.record.tier for e in found}
    assert {rung.run_id: rung.tier for rung in made.rungs} == tiers
    assert {tier.tier: tier.up_to for tier in made.tiers} == pytest.approx(by_hand)
    assert list(by_hand) == [tier.tier for tier in made.tiers]
    rungs = pages[found[0].record.run_id].ladder
    assert {rung.run_id: rung.tier for rung in rungs} == tiers
    assert {rung.tier: rung.worst_so_far for rung in rungs} == pytest.approx(by_hand)  # the last rung of each tier
    clean = found[0].record.metrics.clean_accuracy
    broken = next((tier for tier, left in by_hand.items() if left < 0.5 * clean), None)
    reached, worst, table_broken = table
    transfer = [tier for tier in by_hand if tier in TRANSFER]
    assert reached == (transfer or list(by_hand))
    assert worst == pytest.approx(by_hand[reached[-1]])
    alone = board_of(found).standings
    assert {made.first_break, table_broken, *(s.first_break for s in alone)} == {broken}
    assert made.eligible == (not any(flattered(e.record) for e in found))
    for standing in alone:
        runs = [e.record for e in found if e.record.run_id in standing.runs]
        good = not any(flattered(r) for r in runs) and not all(r.weak_source for r in runs)
        assert standing.badges.eligible == good
        assert standing.badges.weak_source == any(r.weak_source for r in runs)
        tiers = [tier.removesuffix(" (stated)") for tier in standing.tiers]  # by an outsider's plug-in
        assert tiers == [tier for tier in TIERS if tier in {r.tier for r in runs}]


def check_campaign(deployments, board, table):
    """Over all deployments: the board's standings against the table's row."""
    reached, worst, broken = table
    ids = {e.record.run_id for found in deployments.values() for e in found}
    own = [s for s in board.standings if ids & set(s.runs)]
    strict = {s.group.scope: s for s in own}
    assert {s.first_break for s in own} == {broken}
    if Scope.TRANSFER in strict:
        assert [tier.removesuffix(" (stated)") for tier in strict[Scope.TRANSFER].tiers] == reached
    standing = strict.get(Scope.TRANSFER, strict.get(Scope.WHITE_BOX))
    assert standing.robust == pytest.approx(worst) or (standing.robust > worst and len(standing.runs) > standing.tries)
    # of a ranked standing further runs count only alone, so that k stays the same
    assert standing.badges.missing or standing.robust <= standing.best_single + 1e-12
    assert not standing.badges.missing or standing.robust == pytest.approx(worst)


def check(evidence):
    """All readers against the rows; how many deployments were looked at."""
    board, found = board_of(evidence), campaigns(evidence)
    pages = {page.evidence.record.run_id: page for page in board.runs}
    rows = {f"{i}": list(deployments.values()) for i, deployments in enumerate(found)}
    rows |= {f"{i} {target}": [own] for i, deployments in enumerate(found) for target, own in deployments.items()}
    made = tables(rows)
    for i, deployments in enumerate(found):
        check_campaign(deployments, board, made[f"{i}"])
        for target, own in deployments.items():
            check_deployment(own, pages, made[f"{i} {target}"])
    return sum(map(len, found))


def test_all_committed_records(committed):
    assert check(committed) > 40


def test_the_demo_run_beside_the_committed_records_is_listed_as_incomplete(committed, tmp_path):
    """`bench run --defense key-lora --threat adaptive`: one attack out of four, on all 500 images."""
    demo = run(threat="adaptive", images=500, robust=0.9)
    asked = resolve(Request(defense="key-lora", threat="adaptive"), Keyring(tmp_path)).spec
    same = {"defense", "threat", "attack", "budget", "protocol", "seed", "device", "ids", "stop_at", "precision", "key"}
    assert demo.record.spec.model_dump(include=same) == asked.model_dump(include=same)
    (standing,) = (s for s in board_of([*committed, demo]).standings if demo.record.run_id in s.runs)
    assert (standing.rank, standing.tries, standing.group.images) == (None, 1, "all 500 test images")
    assert standing.badges.missing == (
        "non-adaptive: transfer: not run",
        "non-adaptive: autoattack (mode = budget): not run",
        "adaptive: transfer: not run",
        "adaptive: autoattack (mode = budget): mode is first, needs budget",
    )


def test_the_tier_of_a_committed_record_is_what_it_says_of_the_source(committed):
    moved = defaultdict(list)
    for e in committed:
        record = e.record
        own = record.digests.source == record.digests.target
        expected = "T5" if own else "T1+" if record.spec.attack.name == "transfer" and record.adversary.tier == "T1" \
            else record.adversary.tier  # fmt: skip
        assert record.tier == expected
        if record.tier != record.adversary.tier:
            moved[record.adversary.tier, record.tier].append(record.run_id)
    assert {kind: len(ids) for kind, ids in moved.items()} == {("T0", "T5"): 2, ("T1", "T1+"): 40}
    assert "ecdf5689c3c0c5ac" in moved["T0", "T5"]


def test_a_paper_column_has_the_tier_of_its_records(committed):
    paper = [e for e in committed if e.record.spec.protocol is Protocol.PAPER and e.record.spec.budget.eps > 0]
    assert len(paper) > 100
    columns = {
        e.record.run_id: PAPER.get((e.record.spec.budget.norm.value, e.record.tier), "linf_white_box") for e in paper
    }
    made = table1([Cell(run_id, columns[run_id], 0, "", e) for e in paper if (run_id := e.record.run_id)], "digits")
    tiers = {line["row"]: line["tiers"] for line in made.table.data if line["column"] == columns[line["row"]]}
    assert tiers == {e.record.run_id: e.record.tier for e in paper}


def mixed():
    """Deployments with weak sources, errors, failed checks and an attack made for transfer."""
    keyed = {"threat": "adaptive", "robust": 0.6}
    return [
        run(robust=0.7),
        run(**keyed, attack="made-for-transfer"),
        run(**{**keyed, "source": 0.2}, attack="pgd"),
        run(threat="white-box", own=True, robust=0.0),
        run(seed=1, robust=0.4, against=("unreliable: outputs: not finite",)),
        run(seed=2, robust=0.7, source=0.1),
        run(defense="plain", own=True, robust=0.1),
        run(defense="plain", threat="adaptive-ensemble", attack="made-for-transfer", robust=0.2),
    ]


def test_an_outsiders_attack_need_not_be_installed(outsiders):
    """The same board, and all readers agree, with the plug-in and without."""
    made = mixed()
    assert {"T0", "T1", "T1+", "T5"} == {e.record.tier for e in made}
    with_it = board_of(made), json.dumps(payload(board_of(made)))
    assert check(made) == 4
    read_back = [Evidence(type(e.record).model_validate_json(e.record.model_dump_json()), e.rows) for e in made]
    sys.path.remove(str(outsiders))
    registry.cache_clear()
    assert "made-for-transfer" not in registry("attacks").names()
    assert (board_of(made), json.dumps(payload(board_of(made)))) == with_it
    assert json.dumps(payload(board_of(read_back))) == with_it[1]
    assert check(read_back) == 4
    titles = {adversary for s in with_it[0].standings for adversary in s.adversaries}
    assert "adaptive: made-for-transfer" in titles


def test_the_report_asks_no_registry():
    """Whatever is installed, tables and board say the same: they load no plug-in."""
    folder = Path(__file__).parents[1] / "bench" / "report"
    assert not [path for path in folder.rglob("*.py") if "registry" in path.read_text()]

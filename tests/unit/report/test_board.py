"""Standings come from the runs alone: recomputed here from rows and from the published tables."""

import base64
import csv
import json
import random
from dataclasses import replace
from importlib import resources

import numpy as np
import pandas as pd
import pytest

from bench.checks.statistics import ConfidenceSequence, across_keys, interval
from bench.checks.suites import SUITES, Scope
from bench.core.nouns import Outcome
from bench.report.board import make_board
from bench.report.board.payload import payload, run_payload
from bench.report.board.ranks import ranked
from bench.store.evidence import Confirmation
from bench.store.runs import RunStore
from tests.unit.report.synthetic import evidence, run, write

TIERS = {
    Scope.TRANSFER: {"T0", "T1"},
    Scope.SIBLING: {"T0", "T1", "T1s"},
    Scope.QUERIES: {"T0", "T1", "T1s", "T2", "T3"},
    Scope.LEAKED: {"T0", "T1", "T1s", "T2", "T3", "T4"},
    Scope.WHITE_BOX: {"T5"},
}


@pytest.fixture(scope="module")
def runs():
    return evidence(400, images=60)


@pytest.fixture(scope="module")
def board(runs):
    return make_board(runs, reported=False)


def standing(*made, scope=Scope.TRANSFER, protocol="strict"):
    (found,) = (s for s in make_board(made, reported=False).standings
                if s.group.scope is scope and s.group.protocol == protocol)  # fmt: skip
    return found


def scopes(*made):
    return [s.group.scope for s in make_board(made, reported=False).standings]


def robust(e):
    return [row.outcome is Outcome.ROBUST for row in e.rows]


def mask(n, *fooled):
    return np.array([i not in fooled for i in range(n)])


def own(e):
    digests = e.record.digests
    return digests.source == digests.target and e.record.adversary.access == "gradients"


def tried(e):
    spec = e.record.spec
    return spec.threat.name, spec.attack.name, spec.attack.options.get("mode", "first")


def frame(found):
    parts = [
        pd.DataFrame({"target": e.record.digests.target, "image": r.image_id, "robust": r.outcome.value == "robust",
                      "clean": r.clean_prediction == r.label} for r in e.rows)
        for e in found
    ]  # fmt: skip
    return pd.concat(parts)


class TestAgainstTheRows:
    def test_every_strict_figure_is_the_mean_over_keys_of_the_per_image_worst_case(self, runs, board):
        by_id = {e.record.run_id: e for e in runs}
        strict = [s for s in board.standings if s.group.protocol == "strict"]
        assert len(strict) > 50
        assert {s.keys for s in strict} >= {1, 3}
        for s in strict:
            assert s.interval[0] <= s.robust <= s.best_single + 1e-12
            if not s.badges.missing:  # the tries of the suite alone: in the tests of ranks
                continue
            rows = frame(by_id[i] for i in s.runs)
            worst = rows.groupby(["target", "image"]).robust.all().groupby("target").mean()
            assert s.robust == pytest.approx(worst.mean())
            assert (s.keys, s.images) == (len(worst), rows.image.nunique())
            assert s.clean == pytest.approx(rows.groupby("target").clean.mean().mean())
            assert s.worst_key <= worst.min() + 1e-12
            assert s.robust <= s.interval[1]

    def test_a_ranked_figure_is_that_of_the_tries_of_its_suite_or_of_one_run(self, runs, board):
        by_id, looked = {e.record.run_id: e for e in runs}, 0
        for s in (s for s in board.standings if s.group.protocol == "strict" and not s.badges.missing):
            tries = {(one.threat, one.attack, one.fixed.get("mode", "first")) for one in SUITES[s.group.scope]}
            found = [by_id[i] for i in s.runs]
            shares = []
            for device in sorted({e.record.spec.device for e in found}):
                at = [e for e in found if e.record.spec.device == device]
                singles = [np.mean(robust(e)) for e in at]
                suite = [robust(e) for e in at if own(e) or tried(e) in tries]
                shares.append(min(*singles, np.mean(np.all(suite, axis=0))))
            assert s.robust == pytest.approx(np.mean(shares))
            assert (s.keys, s.tries) == (len(shares), len(tries))
            looked += 1
        assert looked > 20

    def test_no_run_of_a_scope_is_missing(self, runs, board):
        by_id = {e.record.run_id: e for e in runs}

        def campaign(e):
            spec = e.record.spec
            return spec.profile, spec.defense.model_dump_json(), spec.budget, spec.protocol, e.record.digests.data

        for s in (s for s in board.standings if s.group.protocol == "strict"):
            like = by_id[s.runs[0]]
            same = [e for e in runs if campaign(e) == campaign(like)]
            white = {e.record.run_id for e in same if own(e)}
            tiers = TIERS[s.group.scope]
            named = {e.record.run_id for e in same if e.record.adversary.tier in tiers}
            expected = white | named if s.group.scope is Scope.WHITE_BOX else named - white
            if like.record.spec.key is None and white:
                assert s.group.scope is Scope.WHITE_BOX  # it keeps nothing from anybody: all that met it counts
                expected = {e.record.run_id for e in same}
            assert set(s.runs) | set(s.aside) == expected

    def test_every_paper_figure_is_the_mean_over_keys_of_one_attack(self, runs, board):
        by_id = {e.record.run_id: e for e in runs}
        paper = [s for s in board.standings if s.group.protocol == "paper"]
        assert len(paper) > 10
        for s in paper:
            found = [by_id[i] for i in s.runs]
            assert len({(e.record.spec.attack.name, e.record.digests.target) for e in found}) == s.keys == len(found)
            assert s.robust == pytest.approx(frame(found).robust.mean())

    def test_the_order_of_the_runs_does_not_matter(self, runs, board):
        shuffled = list(runs)
        random.Random(1).shuffle(shuffled)
        again = make_board([*shuffled, *shuffled[:20]], reported=False)
        assert again == board
        assert json.dumps(payload(again)) == json.dumps(payload(board))


class TestWhatIsRankedTogether:
    def test_white_box_runs_stand_in_no_other_scope(self, runs, board):
        by_id = {e.record.run_id: e for e in runs}
        for s in board.standings:
            found = [by_id[i] for i in s.runs]
            keyed = found[0].record.spec.key is not None
            if keyed or s.group.protocol == "paper":
                assert all(own(e) for e in found) == (s.group.scope is Scope.WHITE_BOX)
            assert any(own(e) for e in found) == (s.group.scope is Scope.WHITE_BOX)
        plain = [s for s in board.standings if s.defense == "plain" and s.group.scope is Scope.WHITE_BOX]
        threats = {by_id[i].record.spec.threat.name for s in plain for i in s.runs}
        assert threats >= {"non-adaptive", "adaptive", "white-box"}

    def test_an_unkeyed_defense_made_again_is_white_box_even_as_one_of_an_ensemble(self):
        ensemble = run(defense="plain", threat="adaptive-ensemble", threat_options={"base": True}, attack="transfer")
        assert scopes(ensemble) == []
        both = run(defense="plain", threat="white-box", own=True, robust=mask(50, 1)), ensemble
        (s,) = make_board(both, reported=False).standings
        assert s.group.scope is Scope.WHITE_BOX
        assert len(s.runs) == 2

    def test_a_group_has_one_norm_eps_protocol_and_profile(self, runs, board):
        by_id = {e.record.run_id: e for e in runs}
        for s in board.standings:
            for e in (by_id[i] for i in s.runs):
                spec, group = e.record.spec, s.group
                assert f"{group.norm}:{group.eps}" == str(spec.budget)
                assert (group.protocol, group.profile, group.kind) == (spec.protocol, spec.profile.name, "measured")
                assert spec.budget.eps > 0

    @pytest.mark.parametrize(("images", "said"), [(50, "the first 50 test images"), (500, "all 500 test images")])
    def test_the_images_are_named(self, images, said):
        assert standing(run(images=images)).group.images == said

    def test_a_scope_needs_a_tier_of_its_own(self):
        transfer = run(), run(threat="adaptive")
        assert scopes(*transfer) == [Scope.TRANSFER]
        query = run(threat="query-score", attack="square")
        assert sorted(scopes(*transfer, query)) == [Scope.QUERIES, Scope.TRANSFER]

    def test_eps_0_is_no_standing(self):
        assert scopes(run(eps="0")) == []

    def test_a_changed_world_is_another_group_and_a_changed_recipe_another_title(self):
        as_it_comes = standing(run())
        other = standing(run(overrides={"preprocessing.name": "none", "preprocessing.resize": 40}))
        recipe = standing(run(overrides={"recipes.lora.steps": 7}))
        assert other.group.profile != as_it_comes.group.profile
        assert other.group.profile.startswith("digits (changed")
        assert recipe.group == as_it_comes.group
        assert (as_it_comes.title, recipe.title) == (
            "key-lora, pixel-shuffle, P = 4, rank 16", "key-lora, pixel-shuffle, P = 4, rank 16, another recipe"
        )  # fmt: skip

    def test_titles(self):
        zoo = run(profile="imagenet", defense="robustbench", options={"model": "Salman2020Do_R18"}, eps="4/255")
        assert standing(zoo).title == "Salman2020Do_R18"
        mixer = run(defense="key-full", overrides={"base.architecture": "convmixer_768_32"})
        assert standing(mixer).title == "key-full, pixel-shuffle, P = 4, on convmixer_768_32"
        asked = run(threat="distillation", threat_options={"query_budget": 1000})
        assert standing(asked, scope=Scope.QUERIES).adversaries == ("distillation (query_budget = 1000): autoattack",)


class TestRanks:
    def three(self):
        white = {"threat": "white-box", "own": True, "images": 200}
        made = [run(defense="key-full", options={"block_size": p}, robust=share, **white)
                for p, share in ((2, 0.9), (4, 0.5), (8, 0.45))]  # fmt: skip
        return list(make_board(made, reported=False).standings)

    def test_places_and_the_places_that_intervals_leave_open(self):
        assert [(s.robust, s.rank, s.rank_interval) for s in self.three()] == [
            (0.9, 1, (1, 1)), (0.5, 2, (2, 3)), (0.45, 3, (2, 3))
        ]  # fmt: skip

    def test_hand_made_intervals(self):
        one = self.three()[0]

        def made(share, low, high):
            return replace(one, robust=share, interval=(low, high))

        chain = [made(0.6, 0.5, 0.7), made(0.5, 0.4, 0.6), made(0.35, 0.25, 0.45), made(0.6, 0.1, 0.9)]
        found = {(s.robust, s.interval): (s.rank, s.rank_interval) for s in ranked(chain)}
        assert found == {
            (0.6, (0.5, 0.7)): (1, (1, 3)), (0.6, (0.1, 0.9)): (1, (1, 4)),
            (0.5, (0.4, 0.6)): (3, (1, 4)), (0.35, (0.25, 0.45)): (4, (2, 4)),
        }  # fmt: skip

    def test_intervals_that_touch_do_not_separate(self):
        one = self.three()[0]
        made = [replace(one, robust=0.6, interval=(0.5, 0.7)), replace(one, robust=0.4, interval=(0.3, 0.5))]
        assert [s.rank_interval for s in ranked(made)] == [(1, 2), (1, 2)]


class TestWhatSpeaksAgainst:
    def test_a_run_with_errors_is_left_out_and_named(self):
        good, bad = run(robust=mask(50, 30)), run(threat="adaptive", robust=mask(50, 1, 2, 3), errors=2)
        s = standing(good, bad)
        assert (s.robust, s.runs, s.aside) == (0.96, (good.record.run_id,), (bad.record.run_id,))
        assert not s.badges.eligible
        assert s.rank is s.rank_interval is None
        assert bad.record.run_id in s.badges.against[0]
        assert "left out" in s.badges.against[0]

    def test_a_key_without_errors_goes_before_one_with(self):
        made = [run(seed=0), run(seed=1, errors=2)]
        s = standing(*made)
        assert s.runs == (made[0].record.run_id,)
        assert s.badges.eligible

    def test_where_nothing_else_is_known_the_figure_stands_without_a_rank(self):
        s = standing(run(robust=1.0, errors=5))
        assert s.robust == 0.9  # the five unknown ones do not count for the defense
        assert (s.rank, s.badges.eligible) == (None, False)

    def test_an_unreliable_run_may_lower_the_figure_but_gets_no_rank(self):
        doubt = "unreliable: gradient: the gradient is zero at all images"
        bad = run(threat="adaptive", robust=mask(50, 3), against=(doubt,))
        s = standing(run(robust=mask(50, 4)), bad)
        assert s.robust == 0.94
        assert s.badges.audit == "fail"
        assert s.badges.against == (f"run {bad.record.run_id}: {doubt}",)
        assert s.rank is None

    @pytest.mark.parametrize("seed", range(12))
    def test_a_run_that_is_ruled_out_never_raises_a_figure(self, seed):
        rng = np.random.default_rng(seed)
        made = [run(threat=t, attack=a, robust=rng.random(40) > 0.3, images=40)
                for t, a in (("non-adaptive", "autoattack"), ("adaptive", "transfer"))]  # fmt: skip
        before = standing(*made)
        bad = [
            run(threat="adaptive", robust=rng.random(40) > 0.2, images=40, errors=int(rng.integers(1, 9))),
            run(threat="adaptive-key-free", robust=rng.random(40) > 0.2, images=40, source=0.1),
            run(
                threat="adaptive-key-free", robust=rng.random(40) > 0.2, images=40, against=("unreliable: key: folded",)
            ),
        ]
        for extra in bad:
            after = standing(*made, extra)
            assert after.robust <= before.robust
            assert extra.record.eligible or extra is bad[1] or after.rank is None

    def test_a_weak_source_counts_beside_a_good_one(self):
        s = standing(run(robust=mask(50, 4)), run(threat="adaptive", robust=mask(50, 3), source=0.2))
        assert s.robust == 0.94
        assert s.badges.weak_source
        assert s.badges.eligible
        assert s.source_clean == (0.2, 0.96)

    @pytest.mark.parametrize("protocol", ["strict", "paper"])
    def test_weak_sources_alone_get_no_rank(self, protocol):
        said = ("unreliable: weak source (adaptive): right on 20%",)
        s = standing(run(source=0.2, protocol=protocol, against=said), protocol=protocol)
        assert s.rank is None
        assert not s.badges.eligible
        assert s.badges.weak_source

    def test_confirmed_only_where_all_verdicts_were_judged_again(self):
        one, two = run(), run(threat="adaptive")

        def confirmed(e, verdicts=None):
            digest = verdicts or e.record.digests.verdicts
            said = Confirmation(run_id=e.record.run_id, verdicts=digest, images=50, version="0", unchecked=[])
            return replace(e, confirmation=said)

        assert standing(confirmed(one), confirmed(two)).badges.verification == "confirmed"
        assert standing(confirmed(one), two).badges.verification == "made here"
        assert standing(confirmed(one), confirmed(two, "0" * 64)).badges.verification == "made here"


class TestKeys:
    def test_several_keys_are_put_together_as_everywhere(self):
        made = [run(seed=seed, robust=share) for seed, share in enumerate((0.5, 0.6, 0.3, 0.55, 0.7))]
        s, found = standing(*made), across_keys([robust(e) for e in made], seed=0)
        assert (s.keys, s.robust, s.interval, s.worst_key) == (5, found.mean, found.interval, found.minimum)
        assert s.badges.eligible

    def test_one_key_has_wilsons_interval(self):
        s = standing(run(robust=0.4, images=200))
        assert s.interval == interval(80, 200)

    def test_a_run_that_may_end_early_has_its_own_interval(self):
        e = run(robust=0.4, images=200, stop_at=5.0)
        assert standing(e).interval == ConfidenceSequence(5.0).interval(80, 200)

    def test_keys_that_met_fewer_adversaries_stand_aside_but_the_worst_key_is_told(self):
        both = [run(seed=0, robust=0.5), run(seed=0, threat="adaptive", robust=0.4)]
        rest = [run(seed=seed, robust=0.1 * seed) for seed in (1, 2, 3)]
        s = standing(*both, *rest)
        assert s.keys == 1
        assert set(s.runs) == {e.record.run_id for e in both}
        assert set(s.aside) == {e.record.run_id for e in rest}
        assert s.adversaries == ("non-adaptive: autoattack", "adaptive: autoattack")
        assert s.worst_key == 0.1

    def test_one_model_under_two_seeds_is_one_deployment_that_met_both(self):
        made = [run(defense="plain", threat="white-box", own=True, seed=i, robust=mask(50, i)) for i in (3, 4)]
        s = standing(*made, scope=Scope.WHITE_BOX)
        assert (s.keys, s.robust) == (1, 0.94)

    def test_other_images_are_another_campaign(self):
        made = [run(seed=0), run(seed=1, first=50)]
        assert len(make_board(made, reported=False).standings) == 2


class TestPages:
    def test_the_ladder_by_hand(self):
        steps = [
            run(threat="white-box", own=True, robust=mask(50, *range(50))),
            run(threat="adaptive", attack="transfer", robust=mask(50, *range(5, 30))),
            run(threat="non-adaptive", robust=mask(50, 1, 2)),
            run(threat="adaptive", robust=mask(50, 2, 3)),
        ]
        board = make_board(steps, reported=False)
        (ladder,) = {page.ladder for page in board.runs}
        assert [(rung.tier, rung.worst_so_far) for rung in ladder] == [
            ("T0", 0.94), ("T1", 0.92), ("T1+", 0.42), ("T5", 0.0)
        ]  # fmt: skip
        assert {s.first_break for s in board.standings} == {"T1+"}

    def test_a_rung_with_errors_takes_nothing_from_the_others(self):
        bad, good = run(threat="non-adaptive", errors=9), run(threat="adaptive", robust=mask(50, 3))
        pages = {page.evidence.record.run_id: page for page in make_board([bad, good], reported=False).runs}
        assert [rung.run_id for rung in pages[good.record.run_id].ladder] == [good.record.run_id]
        assert [rung.worst_so_far for rung in pages[bad.record.run_id].ladder] == [0.98, 0.96]

    def test_curves_differ_in_eps_alone(self):
        made = [run(eps=eps, robust=share) for eps, share in (("1/10", 0.4), ("1/20", 0.6), ("0", 1.0))]
        other = [run(threat="adaptive"), run(seed=1, eps="1/40"), run(protocol="paper"), run(norm="l2", eps="1/40")]
        page = next(p for p in make_board([*made, *other], reported=False).runs
                    if p.evidence.record.run_id == made[0].record.run_id)  # fmt: skip
        first, second = page.curves
        assert first.name == "non-adaptive: autoattack (strict)"
        assert [(p.eps_text, p.robust) for p in first.points] == [("0", 0.98), ("1/20", 0.6), ("1/10", 0.4)]
        # an adversary met at one eps alone: with the clean accuracy that makes two points
        assert [(p.eps_text, p.run_id) for p in second.points] == [
            ("0", made[2].record.run_id), ("1/10", other[0].record.run_id)
        ]  # fmt: skip

    def test_every_run_has_a_page_with_its_command(self, runs, board):
        assert [p.evidence.record.run_id for p in board.runs] == sorted(e.record.run_id for e in runs)
        page = next(p for p in board.runs if p.evidence.record.spec.protocol == "paper")
        assert page.command.startswith("bench run --profile ")
        assert "--protocol paper" in page.command


class TestReported:
    def rows(self, name):
        text = (resources.files("bench") / "report" / "data" / f"{name}.csv").read_text(encoding="utf-8")
        return list(csv.DictReader(text.splitlines()))

    def test_every_published_figure_once(self):
        cells = {}
        for row in self.rows("table1"):
            for norm in ("linf", "l2"):
                for threat in ("non-adaptive", "adaptive"):
                    value = row[f"{norm}_{threat.replace('-', '_')}"]
                    if value:
                        white = "white-box" in row["threat_note"]
                        cells[row["row"], norm, "white-box" if white else threat] = (row, float(value))
        zoo = self.rows("robustbench_imagenet_linf")
        board = make_board([])
        both = {"swin-l-at", "convnext-l-at", "convnext-l-convstem-at"}  # Table I took them from RobustBench
        found = {(s.defense, s.group.norm, s.adversaries[0].split(":")[0]): s for s in board.standings}
        assert len(board.standings) == len(found) == len(cells) - len(both) + len(zoo) == 61
        for key, (row, value) in cells.items():
            if key[0] not in both:
                s = found[key]
                assert 100 * s.robust == pytest.approx(value)
                assert 100 * s.clean == pytest.approx(float(row["clean"]))
                assert (s.images, s.source) == (int(row["n_images"]), row["source"])
        for row in zoo:
            s = found[row["name"], "linf", "white-box"]
            figures = [float(v) for v in (row["autoattack"], row["external"]) if v]
            assert 100 * s.robust == pytest.approx(min(figures))
            assert row["link"] in s.source
            assert s.group.scope is Scope.WHITE_BOX
        assert sum("Table I" in found[row["name"], "linf", "white-box"].source for row in zoo) == len(both)

    def test_they_are_ranked_among_themselves(self):
        plain = run(profile="imagenet", defense="plain", threat="white-box", own=True, eps="4/255", images=5000)
        board = make_board([plain])
        kinds = {s.group: set() for s in board.standings}
        for s in board.standings:
            kinds[s.group].add(s.badges.verification == "reported")
            assert s.interval == interval(round(s.robust * s.images), s.images)
        assert all(len(kind) == 1 for kind in kinds.values())
        best = [s for s in board.standings if s.rank == 1 and s.images == 5000]
        assert {s.title: s.group.images for s in best} == {
            "plain": "the first 5,000 test images", "Xu2024MIMIR_Swin-L": "5,000 images"
        }  # fmt: skip

    def test_columns_of_table_1_are_not_mixed(self):
        groups = [s.group for s in make_board([]).standings if s.group.scope is Scope.TRANSFER]
        assert {(g.norm, g.adversary) for g in groups} == {
            (norm, f"{threat}: autoattack") for norm in ("linf", "l2") for threat in ("non-adaptive", "adaptive")
        }


class TestPayload:
    def test_it_is_json_with_what_the_pages_need(self, runs, board):
        data = json.loads(json.dumps(payload(board), allow_nan=False))
        assert len(data["standings"]) == len(board.standings)
        assert {i for s in data["standings"] for i in s["runs"]} <= data["runs"].keys()
        for found, s in zip(data["standings"], board.standings, strict=True):
            assert (found["group"], found["robust"], found["rank"]) == (s.group.name, s.robust, s.rank)
            assert found["rank"] is None or found["rank"] <= found["group_size"]

    def test_outcomes_are_a_bit_for_each_image(self, board):
        for page in board.runs[:10]:
            data = json.loads(json.dumps(run_payload(page), allow_nan=False))
            packed = np.frombuffer(base64.b64decode(data["outcomes"]), np.uint8)
            assert np.unpackbits(packed)[: data["n"]].astype(bool).tolist() == robust(page.evidence)
            assert data["data"] == page.evidence.record.digests.data


def test_synthetic_runs_are_valid_on_disk(tmp_path):
    ids = write(tmp_path, 12, images=20)
    assert RunStore(tmp_path).ids() == sorted(set(ids))
    assert len(ids) == 12
    for i in ids:
        found = RunStore(tmp_path).run(i).read()
        record, rows = found.record, list(found.rows)
        assert (record.metrics.images, len(rows)) == (20, 20)

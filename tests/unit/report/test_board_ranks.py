"""What may have a rank: the whole suite, on images, seeds and devices that nobody chose after seeing results."""

from dataclasses import replace

import numpy as np
import pytest

from bench.checks.suites import SUITES, Scope
from bench.core.known_images import ROBUSTBENCH_SHA256, order_of, selection_of
from bench.core.profile import load_profile
from bench.core.registry import registry
from bench.core.selection import ROBUSTBENCH, IdList, read_ids
from bench.report.board import make_board
from bench.report.board.table import standings_csv
from bench.store.evidence import Confirmation
from tests.unit.report.synthetic import run


def suite(scope=Scope.TRANSFER, **given):
    """The whole suite of a scope against one deployment; ``robust`` for all tries, or by their number."""
    robust = given.pop("robust", 0.5)
    own = scope is Scope.WHITE_BOX
    each = robust if isinstance(robust, list) else [robust] * len(SUITES[scope])
    tries = zip(SUITES[scope], each, strict=True)
    given = {"clean": 1.0, **given}
    return [run(threat=one.threat, attack=one.attack, attack_options=dict(one.fixed), own=own, robust=left, **given)
            for one, left in tries]  # fmt: skip


def stated(e):
    """The same run, from outside and not confirmed."""
    return replace(e, confirmation=found(e, "stated"))


def found(e, state):
    digest = e.record.digests.verdicts
    images = e.record.metrics.images if state == "confirmed" else 0
    return Confirmation(
        state=state, run_id=e.record.run_id, verdicts=digest, images=images, version="0", unchecked=["the attack"]
    )


def standings(*made, kind="measured", scope=Scope.TRANSFER, protocol="strict"):
    board = make_board(made, reported=False)
    return [s for s in board.standings
            if (s.group.kind, s.group.scope, s.group.protocol) == (kind, scope, protocol)]  # fmt: skip


def standing(*made, **where):
    (only,) = standings(*made, **where)
    return only


def lacks(*made, **where):
    """What the only standing lacks; it has no rank."""
    s = standing(*made, **where)
    assert s.rank is None
    return s.badges.missing


def mask(n, *fooled):
    return np.array([i not in fooled for i in range(n)])


class TestTheSuite:
    @pytest.mark.parametrize("scope", [Scope.TRANSFER, Scope.QUERIES, Scope.WHITE_BOX])
    def test_the_whole_suite_is_ranked(self, scope):
        s = standing(*suite(scope), scope=scope)
        assert (s.rank, s.badges.missing, s.tries) == (1, (), len(SUITES[scope]))

    def test_a_missing_try_is_named_and_costs_the_rank(self):
        assert lacks(*suite()[1:]) == ("non-adaptive: transfer: not run",)

    def test_every_device_needs_the_whole_suite(self):
        made = [*suite(device=0), *suite(device=1), *suite(device=2)[:3]]
        assert lacks(*made) == ("device 2: adaptive: autoattack (mode = budget): not run",)
        assert standing(*suite(device=0), *suite(device=1)).rank == 1

    def test_an_incomplete_line_stays_in_the_table_beside_the_ranked_ones(self):
        made = [*suite(defense="key-full"), *suite(robust=1.0)[:2]]
        both = standings(*made)
        assert [(s.defense, s.rank) for s in both] == [("key-full", 1), ("key-lora", None)]
        assert len({s.group for s in both}) == 1
        text = standings_csv(make_board(made, reported=False))
        assert "adaptive: transfer: not run; adaptive: autoattack (mode = budget): not run" in text

    def test_a_weak_attack_on_an_undefended_model_is_not_ranked(self):
        """An attack that does nothing, or a single step of PGD, is no evidence."""
        weak = run(defense="plain", threat="white-box", own=True, attack="pgd", robust=0.99,
                   attack_options={"steps": 1, "relative_step": 1e-6})  # fmt: skip
        assert lacks(weak, scope=Scope.WHITE_BOX) == ("white-box: autoattack: not run",)
        few = run(defense="plain", threat="white-box", own=True, attack_options={"queries": 1000}, robust=0.9)
        assert lacks(few, scope=Scope.WHITE_BOX) == ("white-box: autoattack: queries is 1000, needs 5000 or more",)

    def test_an_outsiders_attack_is_not_ranked_and_its_tier_is_only_stated(self, outsiders):
        noop = run(threat="adaptive", attack="made-for-transfer", robust=1.0)
        assert lacks(noop) == tuple(f"{one.name}: not run" for one in SUITES[Scope.TRANSFER])
        assert standing(noop).tiers == ("T1+ (stated)",)
        registry.cache_clear()

    def test_a_source_at_chance_satisfies_no_try(self):
        made = [*suite()[:3], run(threat="adaptive", attack_options={"mode": "budget"}, source=0.2)]
        assert lacks(*made) == ("adaptive: autoattack (mode = budget): its source is too weak to say anything",)

    def test_the_papers_protocol_needs_a_column_of_its_table(self):
        column = run(protocol="paper", attack_options={"mode": "budget"})
        assert standing(column, protocol="paper").rank == 1
        (text,) = lacks(run(protocol="paper"), protocol="paper")
        assert text == "non-adaptive: autoattack (mode = budget): mode is first, needs budget"
        (text,) = lacks(run(protocol="paper", attack="pgd"), protocol="paper")
        assert text.startswith("it is not a column of the paper's table: ")

    def test_an_undefended_model_under_the_base_is_white_box(self):
        s = standing(run(defense="plain", own=True, robust=0.0), scope=Scope.WHITE_BOX)
        assert (s.rank, s.tries, s.badges.missing) == (1, 1, ())

    def test_a_defense_without_a_key_needs_white_box_whatever_else_it_faced(self):
        made = suite(defense="plain")
        assert lacks(made[0]) == ("white-box: autoattack: not run",)
        white = suite(Scope.WHITE_BOX, defense="plain", robust=mask(50, 2))
        assert standing(*made, *white, scope=Scope.WHITE_BOX).rank == 1

    def test_a_device_of_unknown_result_costs_the_rank(self):
        made = [*suite(device=0), *suite(device=1, errors=2)]
        assert lacks(*made) == tuple(f"device 1: {one.name}: not run" for one in SUITES[Scope.TRANSFER])


class TestTheTwoFigures:
    def test_worst_case_of_k_tries_and_best_single_attack(self):
        made = suite(robust=[mask(50, *range(i, i + 5)) for i in (0, 3, 6, 9)])
        s = standing(*made)
        assert (s.robust, s.best_single, s.tries) == (1 - 14 / 50, 0.9, 4)

    def test_a_further_attack_counts_only_alone_so_that_k_stays_the_same(self):
        made = suite(robust=[mask(50, 0)] * 4)
        extra = run(threat="adaptive-key-free", robust=mask(50, 1), clean=1.0)
        assert standing(*made, extra).robust == 0.98
        lower = run(threat="adaptive-key-free", robust=mask(50, *range(9)), clean=1.0)
        s = standing(*made, lower)
        assert (s.robust, s.best_single, s.tries) == (0.82, 0.82, 4)

    def test_ranks_follow_the_worst_case(self):
        spread = suite(defense="key-full", robust=[mask(50, *range(9 * i, 9 * i + 9)) for i in range(4)])
        even = suite(robust=[mask(50, *range(12))] * 4)
        ranks = {s.defense: (s.rank, s.best_single) for s in standings(*spread, *even)}
        assert ranks == {"key-lora": (1, 0.76), "key-full": (2, 0.82)}

    def test_both_are_in_the_table(self):
        text = standings_csv(make_board(suite(robust=0.5), reported=False))
        assert "tries" in text.splitlines()[0]
        assert "best_single" in text.splitlines()[0]


class TestChoicesAfterTheFact:
    def test_a_second_seed_counts_where_it_lowers_the_figure_and_only_there(self):
        first = suite(robust=[mask(50, 1)] * 4)
        worse, better = suite(seed=1, robust=[mask(50, *range(9))] * 4), suite(seed=2, robust=[mask(50)] * 4)
        s = standing(*first, *worse, *better)
        assert (s.rank, s.robust, s.keys) == (1, 0.82, 1)
        assert standing(*first, *better).robust == 0.98

    def test_one_run_of_a_second_seed_lowers_it_without_costing_the_rank(self):
        first = suite(robust=[mask(50, 1)] * 4)
        s = standing(*first, run(seed=5, threat="adaptive", attack="transfer", robust=mask(50, *range(9)), clean=1.0))
        assert (s.rank, s.robust) == (1, 0.82)

    def test_an_attackers_second_seed_on_one_model(self):
        first, second = (run(defense="plain", threat="white-box", own=True, seed=s, robust=mask(50, *range(9 * s)),
                             clean=1.0) for s in (0, 1))  # fmt: skip
        s = standing(first, second, scope=Scope.WHITE_BOX)
        assert (s.rank, s.robust, len(s.runs)) == (1, 0.82, 2)

    def test_a_seed_of_ones_own_alone_has_no_rank(self):
        assert lacks(*suite(seed=3)) == ("seed 3; a rank needs seed 0, and other seeds can only lower it",)

    def test_devices_are_the_first_ones(self):
        made = [*suite(device=1), *suite(device=3)]
        assert lacks(*made) == ("devices 1, 3 alone; a rank needs the first devices, from number 0",)

    def test_fewer_keys_are_another_group(self):
        one, two = suite(defense="key-full"), [*suite(device=0), *suite(device=1)]
        assert sorted((s.keys, s.rank) for s in standings(*one, *two)) == [(1, 1), (2, 1)]
        assert len({s.group for s in standings(*one, *two)}) == 2

    def test_a_smaller_number_of_images_gives_way_to_a_larger_one(self):
        many, few = suite(images=100, robust=0.4), suite(images=20, robust=0.9)
        found = {s.images: s for s in standings(*many, *few)}
        assert len({s.group for s in found.values()}) == 2
        assert (found[100].rank, found[20].rank) == (1, None)
        assert found[20].badges.missing == (
            "the first 100 test images were judged too; a rank needs the largest number that is known",
        )
        other = suite(images=20, defense="key-full")
        assert {s.defense: s.rank for s in standings(*many, *few, *other) if s.images == 20} == {
            "key-full": 1, "key-lora": None
        }  # fmt: skip

    def test_another_batch_size_is_the_same_defense(self):
        """A second campaign is no second line: the lowest counts."""
        made = [*suite(robust=[mask(50, 1)] * 4), *suite(robust=[mask(50)] * 4, overrides={"batch_size": 50})]
        assert standing(*made).robust == 0.98

    def test_another_recipe_is_another_defense(self):
        assert len(standings(*suite(), *suite(overrides={"recipes.lora.steps": 7}))) == 2

    def test_a_run_that_may_stop_early_has_no_rank(self):
        s = standing(run(stop_at=5.0))
        assert s.rank is None
        assert "may stop early" in s.badges.missing[0]


class TestImages:
    def test_known_lists_are_those_of_the_data(self):
        digits = registry("datasets").make("digits").split("test").ids
        assert tuple(digits) == order_of("digits")
        assert load_profile("digits").dataset == "digits"
        assert [selection_of("digits", digits[:n]) for n in (1, 300, 500)] == [
            "the first 1 test images", "the first 300 test images", "all 500 test images"
        ]  # fmt: skip

    def test_robustbench_is_known_by_its_content_and_only_for_imagenet(self):
        pytest.importorskip("robustbench")
        ids = read_ids(ROBUSTBENCH)
        assert IdList.of(ROBUSTBENCH, ids).sha256 == ROBUSTBENCH_SHA256
        assert selection_of("imagenet", ids) == ROBUSTBENCH
        assert selection_of("imagenet", ids[:-1]) is selection_of("digits", ids) is None

    @pytest.mark.parametrize("name", ["my.txt", "robustbench-5000"])
    def test_images_of_ones_own_choice_have_no_rank_whatever_the_list_is_called(self, name):
        """The images that an honest run found robust, as a run of their own."""
        honest = suite(images=100, robust=0.8)
        kept = suite(images=100, first=7, robust=1.0)
        ids = IdList.of(name, [row.image_id for row in kept[0].rows])
        forged = []
        for e in kept:
            spec = e.record.spec.model_copy(update={"ids": ids})
            forged.append(replace(e, record=e.record.model_copy(update={"spec": spec, "run_id": spec.run_id})))
        by = {s.group.images: s for s in standings(*honest, *forged)}
        assert by["the first 100 test images"].rank == 1
        chosen = by["own choice of 100 images"]
        assert chosen.rank is None
        assert chosen.badges.missing[0].startswith("own choice of images")
        assert chosen.group != by["the first 100 test images"].group

    def test_other_pixels_under_the_same_ids_are_another_group(self):
        def repainted(e):
            digests = e.record.digests.model_copy(update={"data": "0" * 64})
            return replace(e, record=e.record.model_copy(update={"digests": digests}))

        made = [*suite(), *(repainted(e) for e in suite(defense="key-full"))]
        assert len({s.group for s in standings(*made)}) == 2


class TestProvenance:
    def test_stated_runs_have_no_rank_and_are_averaged_with_nobody(self):
        """Invented rows of an honest defense, as another key of it, change nothing of its line."""
        honest = [*suite(robust=0.8), *suite(device=1, robust=0.8)]
        invented = [stated(e) for e in suite(device=2, robust=1.0)]
        alone, beside = standing(*honest), standing(*honest, *invented)
        assert beside == alone
        claims = standings(*honest, *invented, kind="stated")
        assert len(claims) == len(invented)
        assert {(s.rank, s.badges.verification, s.badges.audit, len(s.runs)) for s in claims} == {
            (None, "stated", "stated", 1)
        }

    def test_a_confirmed_run_is_ranked_beside_local_ones(self):
        made = suite()
        seen = [replace(e, confirmation=found(e, "confirmed")) for e in made]
        assert (standing(*made).badges.verification, standing(*seen).badges.verification) == ("made here", "confirmed")
        assert standing(seen[0], *made[1:]).badges.verification == "made here"
        assert standing(seen[0], *made[1:]).rank == 1

    def test_a_stated_copy_of_a_local_run_does_not_replace_it(self):
        made = suite()
        board = make_board([*map(stated, made), *made], reported=False)
        assert board == make_board(made, reported=False)

    def test_an_edited_audit_is_only_stated(self):
        s = standing(stated(suite()[0]), kind="stated")
        assert (s.badges.audit, s.rank) == ("stated", None)

"""Each rule of the ladder on cases whose answer is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from bench.checks.chance import LEVEL, one_sided
from bench.checks.tiers import (
    Faced,
    Met,
    best_single,
    first_break,
    most_met,
    place,
    tier_of,
    too_weak,
    worst,
    worst_expected,
    worst_up_to,
)
from bench.core.nouns import Access
from bench.core.plugins import Knowledge

MECHANISM, QUERIES = Knowledge.MECHANISM.value, Knowledge.QUERIES.value


def tier(declared, *, own=False, keyed=True, knows=(), access=Access.GRADIENTS, transfer=False):
    return tier_of(declared, on_target=own, keyed=keyed, knows=knows, access=access, for_transfer=transfer)


def mask(*robust, n=10):
    return np.array([i in robust for i in range(n)])


def met(tier, *robust, adversary="a", n=10):
    return Met(tier, adversary, mask(*robust, n=n))


class TestTierOf:
    @pytest.mark.parametrize("declared", ["T0", "T1", "T1s", "T2", "T3", "T4", "T5", "T9"])
    def test_a_threat_is_believed_where_nothing_says_otherwise(self, declared):
        assert tier(declared) == declared

    @pytest.mark.parametrize("declared", ["T0", "T1", "T5"])
    def test_the_gradients_of_the_target_itself_are_white_box(self, declared):
        assert tier(declared, own=True, transfer=True) == "T5"

    def test_an_unkeyed_defense_made_again_is_the_target(self):
        assert tier("T1", keyed=False, knows=[MECHANISM]) == "T5"
        assert tier("T1", keyed=True, knows=[MECHANISM]) == "T1"
        assert tier("T0", keyed=False, knows=["the pre-trained model"]) == "T0"

    def test_who_asks_the_target_has_no_gradients_of_it(self):
        assert tier("T3", keyed=False, knows=[MECHANISM, QUERIES]) == "T3"
        assert tier("T2", keyed=False, knows=[MECHANISM], access=Access.SCORES) == "T2"

    def test_t1_with_an_attack_made_for_transfer(self):
        assert tier("T1", transfer=True) == "T1+"
        assert tier("T0", transfer=True) == "T0"
        assert tier("T1s", transfer=True) == "T1s"

    def test_places_are_those_of_the_ladder(self):
        found = sorted(["T9", "T5", "T1s", "T0", "T1+", "T1", "T4", "T2", "T3"], key=place)
        assert found == ["T0", "T1", "T1+", "T1s", "T2", "T3", "T4", "T5", "T9"]


class TestWorstCase:
    def test_up_to_each_tier_lowest_first(self):
        runs = [met("T5"), met("T1", 1, 2, 3, 4), met("T0", 0, 1, 2, 3), met("T1", 2, 3, 4, 5), met("T0", 1, 2, 3, 9)]
        found = worst_up_to(runs)
        assert list(found) == ["T0", "T1", "T5"]
        assert [np.flatnonzero(left).tolist() for left in found.values()] == [[1, 2, 3], [2, 3], []]

    def test_of_no_runs_there_is_none(self):
        assert worst_up_to([]) == {}

    @given(st.lists(st.tuples(st.sampled_from(["T0", "T1", "T1+", "T5"]), st.sets(st.integers(0, 9))), min_size=1))
    def test_it_never_rises_and_ends_with_the_worst_of_all(self, drawn):
        runs = [met(tier, *robust) for tier, robust in drawn]
        shares = [left.mean() for left in worst_up_to(runs).values()]
        assert shares == sorted(shares, reverse=True)
        assert (
            shares[-1] == worst(run.robust for run in runs).mean() == len(set.intersection(*(r for _, r in drawn))) / 10
        )


class TestSeveralAttacks:
    def test_one_attack_for_all_images_leaves_at_least_what_the_best_for_each_leaves(self):
        masks = [mask(0, 1, 2, 3), mask(2, 3, 4), mask(3, 4, 5)]
        assert np.flatnonzero(best_single(masks)).tolist() == [2, 3, 4]
        assert np.flatnonzero(worst(masks)).tolist() == [3]
        assert best_single(masks[:1]).tolist() == masks[0].tolist()

    def test_of_drawn_members_the_lowest_share_counts_on_each_image(self):
        shares = [np.array([1.0, 0.5, 0.0]), np.array([0.25, 0.75, 1.0])]
        assert worst_expected(shares).tolist() == [0.25, 0.5, 0.0]
        assert worst_expected(shares).mean() == 0.25


class TestFirstBreak:
    def faced(self, *runs, clean=8):
        return Faced(mask(*range(clean)), runs)

    def test_less_than_half_of_the_clean_accuracy(self):
        half, less = met("T0", 0, 1, 2, 3), met("T1", 0, 1, 2)
        assert first_break([self.faced(half)]) is None
        found = first_break([self.faced(less, half)])
        assert (found.tier, found.left) == ("T1", 0.3)
        assert first_break([self.faced(half, less)], below=0.25) is None
        assert first_break([]) is None

    def test_two_tiers_break_together_what_neither_breaks_alone(self):
        found = first_break([self.faced(met("T0", 0, 1, 2, 3), met("T1", 3, 4, 5, 6))])
        assert (found.tier, found.left) == ("T1", 0.1)

    def test_the_mean_is_over_those_that_met_the_tier(self):
        stands = [met("T0", *range(8))]
        one, other = self.faced(*stands, met("T2", adversary="square")), self.faced(*stands)
        assert first_break([one, other]).tier == "T2"
        assert first_break([one, other]).left == 0
        assert first_break([other]) is None

    def test_deployments_that_met_fewer_adversaries_hide_nothing(self):
        hard = [self.faced(met("T0", *range(8), adversary="a"), met("T0", 0, adversary="b"))]
        easy = [self.faced(met("T0", *range(8), adversary="a")) for _ in range(9)]
        assert first_break([*easy, *hard]).left == 0.1


def test_most_met_is_the_most_adversaries_then_the_most_deployments_then_the_lower_figure():
    assert most_met([], []) == []
    assert most_met([{"a"}, {"a", "b"}, {"a"}], [0, 1, 0]) == [1]
    assert most_met([{"a"}, {"b"}, {"a"}], [1, 0, 1]) == [0, 2]
    assert most_met([{"a"}, {"b"}], [0.5, 0.4]) == [1]


class TestTooWeak:
    @pytest.mark.parametrize(
        ("target", "lost", "gained", "weak"),
        [
            (100, 51, 0, True),
            (100, 50, 0, False),  # right on half as many: not less
            (100, 60, 10, False),
            (100, 61, 10, True),
            (5, 5, 0, False),  # chance: 1 in 32
            (8, 8, 0, True),
            (0, 0, 0, False),
            (0, 0, 5, False),
        ],
    )
    def test_less_than_half_of_the_targets_images_and_significantly(self, target, lost, gained, weak):
        assert too_weak(target_right=target, target_alone=lost, source_alone=gained) is weak

    @given(st.integers(0, 300), st.integers(0, 300))
    def test_chance_is_that_of_scipy(self, more, less):
        exact = binom.sf(more - 1, more + less, 0.5) if more + less else 1.0
        assert one_sided(more, less) == (exact < LEVEL)

    def test_many_images_take_no_time_that_grows_with_them(self):
        assert one_sided(10**9, 10**8)
        assert not one_sided(10**9 + 1, 10**9)

"""Mean and minimum over keys: what must hold for any table, and what each part of the variance does."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import t

from bench.checks.statistics import across_keys, exact, half_width, wilson
from bench.core.errors import InputError

shapes = st.tuples(st.integers(2, 6), st.integers(2, 40))
studies = shapes.flatmap(lambda shape: arrays(bool, shape))


@given(studies)
def test_any_table_has_its_figures(robust):
    found = across_keys(robust, seed=0, draws=200)
    assert found.mean == pytest.approx(robust.mean())
    assert found.by_key == pytest.approx(robust.mean(axis=1))
    assert found.minimum == min(found.by_key)
    for (low, high), estimate in ((found.interval, found.mean), (found.minimum_interval, found.minimum)):
        assert -1e-12 <= low <= estimate + 1e-12
        assert estimate - 1e-12 <= high <= 1 + 1e-12
        assert low < high
    # By pairs of keys: their squared difference, less what the images alone make of it.
    pairs = [one.astype(float) - other for one, other in combinations(robust, 2)]
    squared = np.mean([pair.mean() ** 2 - pair.var(ddof=1) / len(pair) for pair in pairs]) / 2
    assert found.between_keys == pytest.approx(math.sqrt(max(squared, 0)), abs=1e-7)


@given(studies, st.randoms())
def test_neither_order_matters(robust, random):
    keys = random.sample(range(len(robust)), len(robust))
    images = random.sample(range(robust.shape[1]), robust.shape[1])
    one, two = across_keys(robust, seed=1, draws=50), across_keys(robust[keys][:, images], seed=1, draws=50)
    assert one.interval == pytest.approx(two.interval)
    assert one.minimum_interval == pytest.approx(two.minimum_interval)


def test_same_table_and_seed_same_figures():
    robust = np.random.default_rng(0).random((5, 300)) < 0.6
    one, two = across_keys(robust, seed=3), across_keys(robust.tolist(), seed=3)
    assert one == two
    other = across_keys(robust, seed=4)
    assert other.interval == one.interval  # nothing of the interval to quote is drawn
    assert other.bootstrap != one.bootstrap
    assert other.bootstrap == pytest.approx(one.bootstrap, abs=0.01)


def test_copies_of_one_key_are_worth_one_run():
    """Where keys do not matter at all, the interval is that of one key's images, not of five times as many."""
    row = np.arange(400) < 240
    found = across_keys(np.tile(row, (5, 1)), seed=0)
    assert half_width(found.interval) == pytest.approx(half_width(wilson(240, 400)), rel=0.02)
    assert found.between_keys == 0


def test_keys_that_differ_are_a_t_interval_over_keys():
    """Where images do not matter at all, what is left is Student's interval over five accuracies."""
    rng = np.random.default_rng(0)
    by_key = np.array([0.5, 0.56, 0.6, 0.64, 0.7])
    robust = np.array([rng.permutation(np.arange(20_000) < p * 20_000) for p in by_key])
    student = t.ppf(0.975, 4) * by_key.std(ddof=1) / np.sqrt(5)
    found = across_keys(robust, seed=0)
    assert half_width(found.interval) == pytest.approx(student, rel=0.03)
    assert half_width(found.bootstrap) < 0.7 * student  # what five keys do to plain percentiles
    assert found.between_keys == pytest.approx(by_key.std(ddof=1), rel=0.02)


def test_a_table_in_which_neither_keys_nor_images_differ_is_worth_its_cells():
    found = across_keys([[False, True], [True, False]], seed=0)
    assert found.interval == pytest.approx(wilson(2, 4))
    assert found.between_keys == 0


@pytest.mark.parametrize("value", [True, False])
def test_all_or_none_is_as_certain_as_one_keys_images(value):
    found = across_keys(np.full((5, 200), value), seed=0)
    assert found.interval == exact(200 * value, 200)


def test_the_minimum_is_bounded_by_the_worst_key_below_and_by_every_key_above():
    robust = np.stack([np.arange(300) < n for n in (150, 210, 240)])
    found = across_keys(robust, seed=0)
    assert found.minimum == 0.5
    assert found.minimum_interval[0] == exact(150, 300)[0]
    assert found.minimum_interval[1] == pytest.approx(exact(150, 300, 1 - 0.05 / 3)[1])


@pytest.mark.parametrize(
    ("robust", "said"),
    [([[True, False]], "at least 2 keys"), ([[True], [False]], "and 2 images"), ([[True, False], [True]], "same im")],
)
def test_too_little_is_refused(robust, said):
    with pytest.raises(InputError, match=said):
        across_keys(robust, seed=0)

"""The sequential stop: intervals against the martingale's definition, and what must hold at every look."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import betaln
from scipy.stats import betabinom, hypergeom

from bench.checks.statistics import ConfidenceSequence, half_width, wilson
from bench.core.errors import InputError

seen = st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
precisions = st.sampled_from([0.1, 0.5, 2.0, 10.0])


@given(seen, precisions)
def test_the_interval_holds_the_estimate_mirrors_and_is_wider_than_for_a_fixed_n(counted, precision):
    k, n = counted
    sequence = ConfidenceSequence(precision)
    low, high = sequence.interval(k, n)
    assert 0 <= low <= k / n <= high <= 1
    assert sequence.interval(n - k, n) == pytest.approx((1 - high, 1 - low), abs=1e-7)
    assert half_width((low, high)) > half_width(wilson(k, n)) * 0.99 or n < 3


@given(seen, precisions)
def test_inside_the_ratio_is_small_and_outside_it_is_large(counted, precision):
    """The ratio itself, on a grid: the interval is exactly the set where it is below 1 / alpha."""
    k, n = counted
    sequence = ConfidenceSequence(precision)
    low, high = sequence.interval(k, n)
    m = sequence._weight
    p = np.linspace(1e-4, 1 - 1e-4, 1001)
    a, b = m * p + 0.5, m * (1 - p) + 0.5
    ratio = betaln(a + k, b + n - k) - betaln(a, b) - k * np.log(p) - (n - k) * np.log1p(-p)
    clear = np.abs(ratio - math.log(20)) > 1e-6
    assert np.array_equal((ratio < math.log(20))[clear], ((low <= p) & (p <= high))[clear])


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), st.data())
def test_among_n_images_the_interval_closes_and_never_leaves_what_is_possible(population, data):
    size, robust = population
    n = data.draw(st.integers(0, size))
    k = data.draw(st.integers(max(0, n - (size - robust)), min(n, robust)))
    sequence = ConfidenceSequence(1.0, population=size)
    low, high = sequence.interval(k, n)
    assert low <= high
    if n:
        assert k / size - 1e-12 <= low
        assert high <= (size - n + k) / size + 1e-12
    if n == size:
        assert low == high == robust / size
        assert sequence.done(k, n)


def test_without_replacement_it_is_the_ratio_of_hypergeometrics():
    """The likelihood of a count by scipy's distributions; the order of the images cancels."""
    size, n, k = 60, 25, 17
    sequence = ConfidenceSequence(2.0, population=size)
    kept = []
    for total in range(size + 1):
        a, b = sequence._weight * total / size + 0.5, sequence._weight * (1 - total / size) + 0.5
        likelihood = hypergeom.pmf(k, size, total, n)
        if likelihood and betabinom.pmf(k, n, a, b) / likelihood < 20:
            kept.append(total / size)
    assert sequence.interval(k, n) == pytest.approx((min(kept), max(kept)))


def test_a_large_population_is_an_infinite_one():
    for k, n in ((0, 50), (40, 100), (999, 1000)):
        finite = ConfidenceSequence(1.0, population=1_000_000).interval(k, n)
        assert finite == pytest.approx(ConfidenceSequence(1.0).interval(k, n), abs=2e-3)


@pytest.mark.parametrize("expected", [0.02, 0.2, 0.5, 0.8, 1.0])
def test_the_price_of_looking_after_every_image(expected):
    """At most three times the images of a fixed n, where that needs any number worth speaking of."""
    sequence = ConfidenceSequence(0.5)
    n = sequence.images(expected)
    assert sequence.done(round(expected * n), n)
    assert not sequence.done(round(expected * n * 0.9), round(n * 0.9))
    fixed = 1.96**2 * max(expected * (1 - expected), 0.02 * 0.98) / 0.005**2
    assert n < 3 * fixed


def test_a_run_over_all_images_always_ends():
    assert 4000 < ConfidenceSequence(0.5, population=5000).images(0.8) <= 5000


def test_before_the_first_image_all_is_open():
    assert ConfidenceSequence(0.5).interval(0, 0) == (0.0, 1.0)
    assert not ConfidenceSequence(0.5).done(0, 0)


def test_more_confidence_is_wider():
    low, high = ConfidenceSequence(1.0, confidence=0.99).interval(80, 100)
    inner = ConfidenceSequence(1.0).interval(80, 100)
    assert low < inner[0] < inner[1] < high


@pytest.mark.parametrize(
    "arguments",
    [{"precision": 0}, {"precision": 50}, {"precision": 1, "confidence": 1}, {"precision": 1, "population": 0}],
)
def test_what_cannot_be_asked_for(arguments):
    with pytest.raises(InputError, match="expected"):
        ConfidenceSequence(**arguments)


@pytest.mark.parametrize(("k", "n"), [(3, 2), (-1, 2), (5, 11)])
def test_counts_that_cannot_be(k, n):
    with pytest.raises(InputError, match="expected no more than there are"):
        ConfidenceSequence(1.0, population=10).interval(k, n)

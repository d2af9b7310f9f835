"""Intervals and tests against published examples, statsmodels and their own symmetries."""

import gc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from statsmodels.stats.contingency_tables import mcnemar as mcnemar_of_statsmodels
from statsmodels.stats.proportion import proportion_confint

from bench.checks.statistics import (
    PairedTable,
    exact,
    half_width,
    holm,
    interval,
    mcnemar,
    needed_images,
    newcombe,
    wilson,
)
from bench.core.errors import InputError

counts = st.integers(0, 400)
tables = st.tuples(counts, counts, counts, counts).filter(any).map(lambda c: PairedTable(*c))
proportions = st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(proportions)
def test_intervals_are_statsmodels(counted):
    k, n = counted
    assert wilson(k, n) == pytest.approx(proportion_confint(k, n, method="wilson"), abs=1e-10)
    assert exact(k, n) == pytest.approx(proportion_confint(k, n, method="beta"), abs=1e-10)


@given(proportions)
def test_an_interval_holds_its_estimate_and_mirrors(counted):
    k, n = counted
    low, high = interval(k, n)
    assert 0 <= low <= k / n <= high <= 1
    assert interval(n - k, n) == pytest.approx((1 - high, 1 - low), abs=1e-10)


def test_at_none_and_all_the_interval_is_exact():
    assert interval(0, 50) == exact(0, 50) != wilson(0, 50)
    assert interval(50, 50) == exact(50, 50)
    assert interval(1, 50) == wilson(1, 50)


@pytest.mark.parametrize(("n", "points"), [(200, 5.5), (1000, 2.5), (5000, 1.1), (50_000, 0.35)])
def test_half_widths_at_eighty_percent(n, points):
    assert 100 * half_width(interval(n * 4 // 5, n)) == pytest.approx(points, abs=0.05)


# Newcombe, Statistics in Medicine 17:2635, 1998, table III, method 10 (it computes with z = 1.96).
NEWCOMBE = {
    (36, 12, 2, 0): (0.0569, 0.3404),
    (20, 12, 2, 16): (0.0562, 0.3292),
    (18, 12, 2, 18): (0.0562, 0.3290),
    (36, 14, 0, 0): (0.1528, 0.4167),
    (35, 14, 0, 1): (0.1461, 0.4175),
    (18, 14, 0, 18): (0.1441, 0.3963),
    (2, 97, 1, 0): (0.8721, 0.9854),
    (1, 97, 1, 1): (0.8736, 0.9850),
    (0, 29, 1, 0): (0.6666, 0.9882),
    (2, 98, 0, 0): (0.9178, 0.9945),
    (1, 98, 0, 1): (0.9171, 0.9916),
    (0, 30, 0, 0): (0.8395, 1.0),
    (54, 0, 0, 0): (-0.0664, 0.0664),
    (53, 0, 0, 1): (-0.0729, 0.0729),
    (30, 0, 0, 24): (-0.0358, 0.0358),
    (27, 0, 0, 27): (-0.0351, 0.0351),
}


@pytest.mark.parametrize("cells", NEWCOMBE)
def test_newcombes_own_examples(cells):
    assert newcombe(PairedTable(*cells)) == pytest.approx(NEWCOMBE[cells], abs=1.5e-4)


# Fagerland, Lydersen and Laake, BMC Medical Research Methodology 13:91, 2013, tables 1 and 2 (exact conditional
# test) and Statistics in Medicine 33:2850, 2014 (Newcombe's interval).
def test_airway_hyper_responsiveness():
    table = PairedTable(1, 1, 7, 12)
    assert mcnemar(table) == pytest.approx(0.0703, abs=5e-5)
    assert newcombe(table) == pytest.approx((-0.507, -0.026), abs=5e-4)


def test_complete_response():
    table = PairedTable(59, 6, 16, 80)
    assert mcnemar(table) == pytest.approx(0.0525, abs=5e-5)
    assert newcombe(table) == pytest.approx((-0.1186, -0.0046), abs=5e-5)


@given(tables)
def test_mcnemar_is_statsmodels(table):
    square = [[table.both, table.only_a], [table.only_b, table.neither]]
    assert mcnemar(table) == pytest.approx(mcnemar_of_statsmodels(square, exact=True).pvalue, rel=1e-6, abs=1e-15)


@given(tables)
def test_the_paired_interval_holds_the_difference_and_mirrors(table):
    low, high = newcombe(table)
    assert -1 <= low <= table.difference <= high <= 1
    assert low < high
    other = PairedTable(table.both, table.only_b, table.only_a, table.neither)
    assert newcombe(other) == pytest.approx((-high, -low), abs=1e-12)
    assert mcnemar(other) == pytest.approx(mcnemar(table), rel=1e-9)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=50))
def test_a_table_counts_images(pairs):
    a, b = zip(*pairs, strict=True)
    table = PairedTable.of(a, b)
    assert table.n == len(pairs)
    assert table.robust_a == pytest.approx(np.mean(a))
    assert table.robust_b == pytest.approx(np.mean(b))
    assert table.difference == pytest.approx(np.mean(a) - np.mean(b))
    assert table.discordance == pytest.approx(np.mean(np.array(a) != np.array(b)))


@pytest.mark.parametrize("cells", [(5, 0, 0, 5), (1, 0, 0, 0), (0, 0, 0, 1), (500, 0, 0, 0), (0, 0, 0, 500)])
def test_no_discordant_pair_is_no_evidence_and_no_certainty(cells):
    table = PairedTable(*cells)
    low, high = newcombe(table)
    assert mcnemar(table) == 1.0
    assert low < 0 < high


@pytest.mark.parametrize("cells", [(0, 0, 0, 0), (3, -1, 0, 0)])
def test_a_table_of_nothing_is_refused(cells):
    with pytest.raises(InputError, match="at least one image"):
        PairedTable(*cells)


def test_holm_step_by_step():
    """The smallest p times 4, the next times 3, never less than one before it."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.2]) == pytest.approx([0.2])


@pytest.fixture(scope="module")
def no_garbage_of_others():
    """statsmodels collects garbage in every call of Holm's method, seconds long where many tests ran before."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("no_garbage_of_others")
@settings(max_examples=20)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.randoms())
def test_holm_is_its_definition(p_values, random):
    adjusted = holm(p_values)
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    worst = 0.0
    for rank, i in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[i]))
        assert adjusted[i] == pytest.approx(worst)
        assert p_values[i] <= adjusted[i] + 1e-12
    mixed = random.sample(range(len(p_values)), len(p_values))
    assert holm([p_values[i] for i in mixed]) == pytest.approx([adjusted[i] for i in mixed])


def power_of_exact_test(n: int, difference: float, discordance: float, alpha: float = 0.05) -> float:
    """By enumeration of the number of discordant pairs and of those in favour of A."""
    m = np.arange(n + 1)
    weight = binom.pmf(m, n, discordance)
    m, weight = m[weight > 1e-12], weight[weight > 1e-12]
    critical = binom.ppf(alpha / 2, m, 0.5).astype(int)
    critical -= binom.cdf(critical, m, 0.5) > alpha / 2
    share = (1 + difference / discordance) / 2
    return float(weight @ (binom.cdf(critical, m, share) + binom.sf(m - critical - 1, m, share)))


@pytest.mark.parametrize(
    ("difference", "discordance", "about"), [(0.01, 0.05, 3900), (0.02, 0.10, 2000), (-0.02, 0.1, 2000)]
)
def test_needed_images(difference, discordance, about):
    n = needed_images(difference, discordance)
    assert n == pytest.approx(about, rel=0.03)
    assert 0.77 < power_of_exact_test(n, abs(difference), discordance) < 0.81
    assert power_of_exact_test(round(n * 1.06), abs(difference), discordance) >= 0.8


def test_needed_images_of_connors_formula():
    """(1.95996 sqrt(0.2) + 0.84162 sqrt(0.19))^2 / 0.01 = 154.6."""
    assert needed_images(0.1, 0.2) == 155
    assert needed_images(0.1, 0.2, power=0.9) > 155
    assert needed_images(0.1, 0.2, alpha=0.01) == 231


@pytest.mark.parametrize(("difference", "discordance"), [(0.0, 0.1), (0.2, 0.1), (0.1, 1.1)])
def test_needed_images_of_what_cannot_be(difference, discordance):
    with pytest.raises(InputError, match="expected a difference other than 0"):
        needed_images(difference, discordance)

"""How often the intervals cover the truth, by simulation; `pytest -s` prints the figures of docs/statistics.md."""

from collections.abc import Callable, Iterable
from functools import cache

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import binom

from bench.checks.statistics import ConfidenceSequence, PairedTable, across_keys, exact, interval, newcombe

pytestmark = pytest.mark.slow
NOMINAL = 0.945  # what is asked of each method, on average over the cases in which it is used
Limits = tuple[float, float]


class Count:
    """Hits and misses of one method over its cases."""

    def __init__(self, name: str) -> None:
        self.name, self.cases = name, {}

    def add(self, case: object, hits: Iterable[bool]) -> None:
        self.cases[case] = np.fromiter(hits, bool)

    @property
    def mean(self) -> float:
        return float(np.mean([hits.mean() for hits in self.cases.values()]))

    @property
    def lowest(self) -> tuple[float, object]:
        return min((float(hits.mean()), case) for case, hits in self.cases.items())

    def show(self) -> None:
        n = sum(len(hits) for hits in self.cases.values())
        error = (self.mean * (1 - self.mean) / n) ** 0.5
        low, case = self.lowest
        each = len(self.cases[case])
        print(f"\n{self.name}: {100 * self.mean:.2f} +- {100 * error:.2f}%, lowest {100 * low:.1f} +- "
              f"{100 * (low * (1 - low) / each) ** 0.5:.1f}% at {case}")  # fmt: skip


def holds(limits: Limits, truth: float) -> bool:
    return limits[0] <= truth <= limits[1]


@pytest.mark.parametrize("n", [50, 200, 1000, 5000])
def test_wilson_and_clopper_pearson(n):
    """No simulation: every count with its probability, averaged over accuracies of 0.1% to 99.9%."""
    accuracy = np.linspace(0.001, 0.999, 999)
    covered = np.zeros_like(accuracy)
    for k in range(n + 1):
        low, high = interval(k, n)
        covered += binom.pmf(k, n, accuracy) * ((low <= accuracy) & (accuracy <= high))
    print(f"\ninterval, n = {n}: {100 * covered.mean():.2f}%, lowest {100 * covered.min():.1f}%")
    assert covered.mean() >= NOMINAL
    assert covered.mean() <= 0.965  # not by being wide


def test_newcombes_paired_interval():
    count, cached = Count("newcombe"), cache(lambda *cells: newcombe(PairedTable(*cells)))
    rng = np.random.default_rng(0)
    for n in (100, 300, 1000):
        for robust_a in (0.03, 0.3, 0.8):
            for only_a, only_b in ((0.01, 0.01), (0.03, 0.0), (0.03, 0.1), (0.02, 0.15)):
                cells = [robust_a - only_a, only_a, only_b, 1 - robust_a - only_b]
                hits = (holds(cached(*map(int, t)), only_a - only_b) for t in rng.multinomial(n, cells, size=2000))
                count.add((n, robust_a, only_a, only_b), hits)
    count.show()
    assert count.mean >= NOMINAL
    assert count.lowest[0] >= 0.925  # single cases: discordances of one image in a hundred


NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(80)


def average(centre: float, spread: float) -> float:
    """Of the logistic function over a normal variable."""
    return float(WEIGHTS @ expit(centre + spread * NODES) / WEIGHTS.sum())


def studies(accuracy: float, keys_differ: float, images_differ: float, *, images: int, repeat: int):
    """Tables of 5 keys, with each key's own accuracy: logits with a normal part of the key and one of the image."""
    rng = np.random.default_rng(1)
    spread = float(np.hypot(keys_differ, images_differ))
    centre = brentq(lambda c: average(c, spread) - accuracy, -60, 60)
    for _ in range(repeat):
        key = centre + keys_differ * rng.standard_normal((5, 1))
        chance = expit(key + images_differ * rng.standard_normal((1, images)))
        yield rng.random((5, images)) < chance, [average(float(k), images_differ) for k in key[:, 0]]


CASES = [(a, k, i) for a in (0.01, 0.05, 0.3, 0.6, 0.95) for k in (0.0, 0.1, 0.3, 0.8) for i in (1.0, 4.0)]


@pytest.mark.parametrize("images", [100, 500])
def test_five_keys(images, monkeypatch):
    """Accuracies of 1 to 95%; keys that do not differ at all, or by up to 19 points; images alike or very unlike."""
    monkeypatch.setattr("bench.checks.statistics.keys.exact", cache(exact))
    mean, lowest = Count(f"mean over 5 keys, {images} images"), Count(f"minimum of 5 keys, {images} images")
    for case in CASES:
        found = [
            (holds(study.interval, case[0]), holds(study.minimum_interval, min(own)))
            for robust, own in studies(*case, images=images, repeat=600)
            for study in (across_keys(robust, seed=0, draws=1),)
        ]
        mean.add(case, (a for a, _ in found))
        lowest.add(case, (b for _, b in found))
    mean.show()
    lowest.show()
    assert mean.mean >= NOMINAL
    assert mean.lowest[0] >= 0.925  # 0.945 less two Monte-Carlo errors of one case
    assert lowest.mean >= NOMINAL
    assert lowest.lowest[0] >= 0.925


def test_plain_percentiles_would_not_do():
    """Why the interval to quote is not the plain bootstrap: with five differing keys it covers the mean too rarely."""
    count = Count("plain two-way percentiles, keys that differ")
    tables = studies(0.6, 0.8, 1.0, images=500, repeat=600)
    count.add("", (holds(across_keys(robust, seed=0, draws=400).bootstrap, 0.6) for robust, _ in tables))
    count.show()
    assert count.mean < 0.92


SHARD = 100


def looks(accuracy: float, shards: int, repeat: int, population: int | None) -> np.ndarray:
    """Robust images (repeat, shards) after each shard of 100."""
    rng = np.random.default_rng(2)
    if population is None:
        return rng.binomial(SHARD, accuracy, size=(repeat, shards)).cumsum(axis=1)
    left, robust, seen = population, np.full(repeat, round(accuracy * population)), []
    for _ in range(shards):
        drawn = rng.hypergeometric(robust, left - robust, SHARD)
        robust, left = robust - drawn, left - SHARD
        seen.append(drawn)
    return np.stack(seen, axis=1).cumsum(axis=1)


def follow(counts: np.ndarray, truth: float, limits: Callable[[int, int], Limits], precision: float):
    """Whether the interval at the stop covers the truth, whether every one until then does, and the images taken."""
    for row in counts:
        every = True
        for shard, k in enumerate(row, start=1):
            low, high = limits(int(k), shard * SHARD)
            every &= low <= truth <= high
            if (high - low) / 2 <= precision / 100:
                break
        yield low <= truth <= high, every, shard * SHARD


ACCURACIES = (0.0, 0.02, 0.1, 0.3, 0.5, 0.8, 0.97)


@pytest.mark.parametrize(("precision", "population"), [(5.0, None), (2.5, None), (2.5, 2000), (1.0, 3000)])
def test_the_sequential_stop(precision, population):
    sequence = ConfidenceSequence(precision, population=population)
    limits = cache(sequence.interval)
    name = f"stop at {precision} points, population {population}"
    stop, every = Count(f"{name}: at the stop"), Count(f"{name}: at every look")
    for accuracy in ACCURACIES:
        shards = (population or 6000) // SHARD
        found = list(follow(looks(accuracy, shards, 3000, population), accuracy, limits, precision))
        stop.add(accuracy, (a for a, _, _ in found))
        every.add(accuracy, (b for _, b, _ in found))
        taken = [n for _, _, n in found]
        assert max(taken) < 6000
        print(f"\n{name}, accuracy {accuracy}: {np.mean(taken):.0f} images on average", end="")
    stop.show()
    every.show()
    assert min(stop.lowest[0], every.lowest[0]) >= NOMINAL


def test_looking_at_a_fixed_intervals_many_times_would_not_do():
    """Wilson's intervals after each of 50 shards: at some look the truth is outside far more often than 5%."""
    limits, count = cache(interval), Count("Wilson at each of 50 looks")
    count.add("", (every for _, every, _ in follow(looks(0.5, 50, 2000, None), 0.5, limits, 0.1)))
    count.show()
    assert count.mean < 0.85

"""Two-phase intervals: exact counts, coverage under optional stopping, and their cost."""

import numpy as np
import pytest

from bench.checks.statistics import Counts, TwoPhase
from bench.core.errors import InputError

FALLS = (0.0, 0.01, 0.03, 0.1, 0.5, 1.0)


def covers(rule, images, survivors, share, trials, step, seed, *, every=False):
    """Share of trials whose interval holds the figure: at the stop, or at every look up to the end."""
    rng, hits = np.random.default_rng(seed), 0
    falls = round(share * survivors)
    truth = (survivors - falls) / images
    fell = np.zeros(survivors, int)
    fell[:falls] = 1
    for _ in range(trials):
        total, held = np.cumsum(rng.permutation(fell)), True
        for n in [*range(step, survivors, step), survivors]:
            counts = Counts(images, survivors, n, int(total[n - 1]))
            low, high = rule.interval(counts)
            inside = low - 1e-12 <= truth <= high + 1e-12
            if every:
                held &= inside
            elif rule.done(counts):
                held = inside
                break
        hits += held
    return hits / trials


@pytest.mark.parametrize("share", FALLS)
def test_coverage_with_optional_stopping(share):
    assert covers(TwoPhase(2), 300, 150, share, 200, 5, seed=round(100 * share)) >= 0.945


@pytest.mark.slow
@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize(
    ("images", "points", "step", "trials"), [(300, 2, 10, 1000), (1500, 1, 50, 500), (50_000, 0.5, 500, 60)]
)
def test_coverage_over_the_grid(images, points, step, trials, every):
    found = {
        (left, share): covers(TwoPhase(points), images, round(left * images), share, trials, step, 7, every=every)
        for left in (0.1, 0.5, 0.9)
        for share in FALLS
    }
    low = min(found, key=found.get)
    print(f"\ntwo phases, N = {images}, {'every look' if every else 'at the stop'}: "
          f"{100 * np.mean(list(found.values())):.1f}%, lowest {100 * found[low]:.1f}% at {low}")  # fmt: skip
    assert np.mean(list(found.values())) >= 0.945
    assert min(found.values()) >= 0.93


def test_the_whole_sample_gives_the_figure_itself():
    counts = Counts(100, 60, 60, 7)
    assert TwoPhase(1).interval(counts) == pytest.approx((0.53, 0.53))
    assert counts.estimate == pytest.approx(0.53)
    low, high = TwoPhase(1).behind(counts)
    assert low < 0.45 < 0.61 < high  # the images are a sample, too


def test_no_survivors_leave_nothing_and_none_sampled_is_never_enough():
    assert TwoPhase(1).interval(Counts(100, 0, 0, 0)) == (0.0, 0.0)
    assert TwoPhase(1).done(Counts(100, 0, 0, 0))
    assert not TwoPhase(49).done(Counts(100, 1, 0, 0))
    with pytest.raises(InputError, match="survivors >= sampled"):
        TwoPhase(1).interval(Counts(100, 10, 11, 0))


def test_half_a_point_on_50000_images_needs_a_tenth_of_the_survivors():
    """The figures of docs/statistics.md."""
    found = [TwoPhase(0.5).sample(50_000, 25_000, share) for share in (0.01, 0.02, 0.03, 0.05, 0.1)]
    assert found == sorted(found)
    assert found[1] <= 0.07 * 25_000
    assert found[2] <= 0.1 * 25_000

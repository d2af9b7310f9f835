"""Several keys of one defense: key and images are both sampled, so both contribute error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from bench.checks.statistics.proportion import CONFIDENCE, exact
from bench.core.errors import InputError
from bench.core.seeds import seed_of

KeysByImages = NDArray[np.float64]


@dataclass(frozen=True)
class AcrossKeys:
    """Robust accuracy over keys and images, fractions in [0, 1].

    Attributes:
        keys: Number of keys.
        images: Number of images, the same for every key.
        by_key: Robust accuracy of each key.
        mean: Mean over keys and images.
        interval: Interval of the mean over all keys and all images like these; the one to quote. If the mean is 0 or 1,
            it is that of the images under one key: nothing is known of the spread between keys.
        bootstrap: The plain two-way percentile interval, for comparison: with few keys it is too narrow where keys
            differ, and too wide where they do not.
        between_keys: Standard deviation of robust accuracy between keys, minus the part explained by the images; 0 if
            that is negative.
        minimum: Minimum of ``by_key``.
        minimum_interval: Interval of the smallest accuracy among the keys tested, over all images like these. A further
            key lies below all of them with probability 1 / (keys + 1).
    """

    keys: int
    images: int
    by_key: tuple[float, ...]
    mean: float
    interval: tuple[float, float]
    bootstrap: tuple[float, float]
    between_keys: float
    minimum: float
    minimum_interval: tuple[float, float]


def across_keys(
    robust: Sequence[Sequence[bool]], *, seed: int, confidence: float = CONFIDENCE, draws: int = 4000
) -> AcrossKeys:
    """Mean and minimum over keys with their intervals.

    Assumes keys drawn independently of each other and images drawn independently of each other and of the keys; the
    same image under several keys, and several images under one key, may depend on each other in any way.

    Args:
        robust: One row per key and one column per image, in the same order of images.
        seed: Seed of the bootstrap; the same table and seed give the same figures.
        confidence: Confidence of each interval.
        draws: Number of bootstrap samples.

    Raises:
        InputError: if there are fewer than two keys or images, or rows of different lengths.
    """
    if len({len(row) for row in robust}) > 1:
        raise InputError(f"keys with {sorted({len(row) for row in robust})} images; expected the same images for all")
    table = np.asarray(robust, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2:
        raise InputError(f"a table of shape {table.shape}; expected at least 2 keys and 2 images")
    by_key, _, rest = _components(table)
    return AcrossKeys(
        keys=table.shape[0],
        images=table.shape[1],
        by_key=tuple(float(x) for x in table.mean(axis=1)),
        mean=float(table.mean()),
        interval=_mean_interval(table, confidence),
        bootstrap=_bootstrap(table, seed, confidence, draws),
        between_keys=math.sqrt(max(by_key - rest, 0.0) / table.shape[1]),
        minimum=float(table.mean(axis=1).min()),
        minimum_interval=_minimum_interval(table, confidence),
    )


def _mean_interval(table: KeysByImages, confidence: float) -> tuple[float, float]:
    """Wilson's interval for the effective number of images that matches the two-way variance of the mean.

    The squared half width is a sum, each part of the variance with the quantile of its own degrees of freedom
    (Banerjee, Sankhya 22, 1960: coverage at least nominal for normal means), and becomes an effective sample
    size in Wilson's formula (as in Korn and Graubard, Survey Methodology 24, 1998), which behaves well near 0 and 1.
    The variance is computed with two pseudo-images, one robust under every key and one under none (as in Agresti and
    Coull, American Statistician 52, 1998), because a handful of failures understates it.
    """
    from statsmodels.stats.proportion import proportion_confint  # noqa: PLC0415 (it imports pandas)

    keys, images = table.shape
    mean = float(table.mean())
    if mean in (0.0, 1.0):
        return exact(round(mean * images), images, confidence)
    imagined = np.concatenate([table, np.ones((keys, 1)), np.zeros((keys, 1))], axis=1)
    by_key, by_image, rest = _components(imagined)
    tail, cells = (1 + confidence) / 2, keys * images
    error = float(t.ppf(tail, keys - 1)) ** 2 * by_key / cells
    error += float(t.ppf(tail, images - 1)) ** 2 * max(by_image - rest, 0.0) / cells
    z2 = float(norm.ppf(tail)) ** 2
    most = mean * (1 - mean) * z2
    n = min(most / error, cells) if error > most / cells else cells  # at most the number of independent cells
    low, high = proportion_confint(mean * n, n, alpha=1 - confidence, method="wilson")
    return float(low), float(high)


def _components(table: KeysByImages) -> tuple[float, float, float]:
    """Mean squares of the two-way layout without replication: between keys, between images, the residual."""
    keys, images = table.shape
    rows, columns, mean = table.mean(axis=1), table.mean(axis=0), table.mean()
    rest = ((table - rows[:, None] - columns[None, :] + mean) ** 2).sum() / ((keys - 1) * (images - 1))
    return float(images * rows.var(ddof=1)), float(keys * columns.var(ddof=1)), float(rest)


def _bootstrap(table: KeysByImages, seed: int, confidence: float, draws: int) -> tuple[float, float]:
    """Percentiles of the mean with keys and images both resampled with replacement.

    Images with the same column are resampled as one group, so the cost does not grow with the images.

    Source: Owen, Annals of Applied Statistics 1, 2007 (the pigeonhole bootstrap).
    """
    keys, images = table.shape
    rng = np.random.default_rng(seed_of(seed, "two-way bootstrap"))
    kinds, counts = np.unique(table, axis=1, return_counts=True)
    rows = rng.multinomial(keys, np.full(keys, 1 / keys), size=draws) / keys
    columns = rng.multinomial(images, counts / images, size=draws) / images
    means = ((rows @ kinds) * columns).sum(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _minimum_interval(table: KeysByImages, confidence: float) -> tuple[float, float]:
    """From the smallest exact lower limit to the smallest exact upper limit, with Bonferroni on the upper limits.

    The worst key's own lower limit is above its accuracy with probability at most half of 1 - confidence, and the
    smallest lower limit is no larger. Every key's upper limit must hold, so Bonferroni's correction applies to those.
    """
    keys, images = table.shape
    robust = [int(x) for x in table.sum(axis=1)]
    shared = 1 - (1 - confidence) / keys
    lows = [exact(k, images, confidence)[0] for k in robust]
    highs = [exact(k, images, shared)[1] for k in robust]
    return min(lows), min(highs)

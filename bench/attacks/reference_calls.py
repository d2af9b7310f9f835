"""Number of model calls of the official AutoAttack package per image, counted in its source (pyautoattack 0.2)."""

from __future__ import annotations

from collections.abc import Sequence

from bench.core.budget import Norm
from bench.core.cost import Calls, Passes

# The package's settings: iterations of APGD and FAB, queries of Square, target classes, restarts, samples of `rand`.
_ITERATIONS, _QUERIES, _TARGETS, _TARGETS_L1, _RESTARTS, _SAMPLES = 100, 5000, 9, 5, 5, 20
# Under l1 a standard APGD restarts at three radii, and evaluates each of the three starts.
_RADII_L1 = 3
# Checks of the first batch for randomness, range and dynamics, and of every image for its clean prediction.
_CHECKS = {"rand": 2}
_CHECKS_ELSE = 7
_LOOK = Passes(1)


def reference_calls(parts: Sequence[str], version: str, norm: Norm, classes: int) -> Calls:
    """Least: the first attack's first run fools the image, and still runs to full length. Most: the image survives.

    ``most`` includes the package's checks, which are made on the first batch only.
    """
    runs = [_runs(part, version, norm, classes) for part in parts]
    one = [_run(part, version, norm, classes) for part in parts]
    # Every attack evaluates the image before and after.
    most = sum((run * times + _LOOK * 2 for run, times in zip(one, runs, strict=True)), _LOOK)
    first = _LOOK * 3 + (_LOOK * 2 if parts[0] == "square" else one[0])
    return Calls(first, most + _LOOK * _CHECKS.get(version, _CHECKS_ELSE))


def _runs(part: str, version: str, norm: Norm, classes: int) -> int:
    if part in ("apgd-t", "fab-t"):
        wanted = _TARGETS_L1 if part == "apgd-t" and norm is Norm.L1 and version == "standard" else _TARGETS
        return min(wanted, classes - 1)
    if part == "square" or version == "rand" or (version == "standard" and norm is not Norm.L1):
        return 1
    return _RESTARTS


def _run(part: str, version: str, norm: Norm, classes: int) -> Passes:
    """One run with the evaluations around it."""
    if part.startswith("apgd"):
        starts = _RADII_L1 if norm is Norm.L1 and version == "standard" else 1
        gradients = Passes(1, 1) * ((_ITERATIONS + starts) * (_SAMPLES if version == "rand" else 1))
        return gradients + _LOOK if part == "apgd-t" else gradients  # apgd-t evaluates once to select its target
    if part == "fab-t":
        return Passes(2, 1) * _ITERATIONS + _LOOK * 3
    if part == "fab":
        return Passes(2, classes) * _ITERATIONS + _LOOK * 2
    return Passes(1) * (_QUERIES + 1) + _LOOK

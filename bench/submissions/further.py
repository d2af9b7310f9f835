"""Checks of the further measurements in untrusted verdicts: each is where the judge makes it, and nowhere else."""

from __future__ import annotations

import numpy as np

from bench.core.spec import Spec
from bench.store.verdicts import NOTHING
from bench.submissions.verdicts import Verdicts, refuse_first

_PREDICTIONS = ("other_prediction", "noise_prediction", "quantized_prediction")


def check_further(spec: Spec, verdicts: Verdicts) -> None:
    """Check values and places; a run of an older version has none.

    Raises:
        RefusedError: for the first error.
    """
    numbers, classes = verdicts.numbers, spec.profile.classes
    for name in _PREDICTIONS:
        odd = (numbers[name] < NOTHING) | (numbers[name] >= classes)
        refuse_first(verdicts, odd, name, f"is not a class of 0 to {classes - 1}, nor {NOTHING}")
    outcome = np.array(verdicts.texts["outcome"], dtype=object)
    valid = ~np.isin(outcome, ["invalid", "error"]) & (spec.budget.eps > 0)
    moved = valid & (numbers["distance"] > 0)
    _check_places(verdicts, "noise_prediction", moved, needed=_any(numbers["noise_prediction"]))
    paired = moved & (_in_shard(moved, spec.shard_size) > 1)
    if spec.estimate is None:
        _check_places(verdicts, "other_prediction", paired, needed=_any(numbers["noise_prediction"]))
    else:  # its shards are in random order, and an image is in two
        _check_places(verdicts, "other_prediction", moved, needed=False)
    rounded = valid & (spec.quantize is not None)
    _check_places(verdicts, "quantized_prediction", rounded, needed=spec.quantize is not None)
    _check_places(verdicts, "share", valid, needed=_any(numbers["share"]))


def _check_places(verdicts: Verdicts, name: str, where: np.ndarray, *, needed: bool) -> None:
    there = ~np.isnan(verdicts.numbers[name])
    refuse_first(verdicts, there & ~where, name, "is set, but the judge does not measure it for this image")
    if needed:
        refuse_first(verdicts, where & ~there, name, "is null, but the judge measures it for this image")


def _in_shard(counts: np.ndarray, size: int) -> np.ndarray:
    """The number of images of its shard that count, for each image."""
    shard = np.arange(len(counts)) // size
    return np.bincount(shard, weights=counts)[shard]


def _any(values: np.ndarray) -> bool:
    return bool((~np.isnan(values)).any())

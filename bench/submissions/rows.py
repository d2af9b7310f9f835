"""Checks that untrusted verdicts are possible, and that the record agrees with them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bench.checks.statistics import TwoPhase
from bench.core.ball import allowance
from bench.core.nouns import Protocol
from bench.core.selection import IdList
from bench.core.spec import Spec
from bench.engine.early_stop import sequence_of
from bench.engine.summarise import metrics_of
from bench.engine.two_phases import FIRST, WHOLE, counts_of, out_of_order
from bench.store.record import Record
from bench.store.untrusted import RefusedError, tame
from bench.store.verdicts import Row
from bench.submissions.further import check_further
from bench.submissions.verdicts import Verdicts, refuse_first

_CLOSE = 1e-9  # tolerance for figures computed from the same counts on two machines
_NONE = "none"  # attack of an image that was judged clean


def check_rows(record: Record, verdicts: Verdicts) -> list[Row]:
    """The rows, after checking that each is consistent and agrees with the Spec and the record.

    Raises:
        RefusedError: for the first error.
    """
    for name, got in (("verdicts", verdicts.digest), ("data", verdicts.data_digest)):
        if got != getattr(record.digests, name):
            raise RefusedError(f"digests.{name}", f"is {getattr(record.digests, name)[:12]}, the rows have {got[:12]}")
    _check_images(record, verdicts)
    _check_outcomes(record.spec, verdicts)
    _check_distances(record.spec, verdicts)
    _check_attacks(record.spec, verdicts)
    check_further(record.spec, verdicts)
    rows = verdicts.rows
    _check_phases(record.spec, verdicts, rows)
    _check_metrics(record, rows)
    _check_standing(record)
    return rows


def _check_images(record: Record, verdicts: Verdicts) -> None:
    """Check labels, classes and the set of images."""
    spec, n = record.spec, record.metrics.images
    for name in ("label", "clean_prediction", "adversarial_prediction", "source_prediction"):
        values = verdicts.numbers[name]
        refuse_first(
            verdicts,
            (values < 0) | (values >= spec.profile.classes),
            name,
            f"is not a class of 0 to {spec.profile.classes - 1}",
        )
    if n > record.population or (spec.stop_at is None and n != record.population):
        raise RefusedError("population", f"is {record.population}, the run has {n} images")
    for name, most in (("spec.limit", spec.limit), ("spec.ids.count", spec.ids.count if spec.ids else None)):
        if most is not None and record.population > most:
            raise RefusedError(name, f"is {most}, population is {record.population}")
    if spec.ids and spec.stop_at is None and n == spec.ids.count:
        got = IdList.of(spec.ids.name, verdicts.texts["image_id"]).sha256
        if got != spec.ids.sha256:
            raise RefusedError("spec.ids.sha256", f"is {spec.ids.sha256[:12]}, the ids of the rows have {got[:12]}")


def _check_outcomes(spec: Spec, verdicts: Verdicts) -> None:
    """Check every outcome against the predictions; null is a wrong prediction."""
    label, before, after = (verdicts.numbers[name] for name in ("label", "clean_prediction", "adversarial_prediction"))
    right, still = before == label, after == label
    outcome = _outcomes(verdicts)
    refuse_first(verdicts, (outcome == "robust") & ~(right & still), "outcome", "is robust, but a prediction is wrong")
    refuse_first(
        verdicts, (outcome == "fooled") & ~right, "outcome", "is fooled, but the clean prediction is wrong already"
    )
    refuse_first(
        verdicts, (outcome == "fooled") & still, "outcome", "is fooled, but the adversarial prediction is right"
    )
    refuse_first(
        verdicts, (outcome == "misclassified") & right, "outcome", "is misclassified, but the clean prediction is right"
    )
    error = outcome == "error"
    refuse_first(verdicts, error & ~np.isnan(after), "adversarial_prediction", "is set, but the outcome is error")
    unread = np.array([sha is None for sha in verdicts.texts["image_sha256"]])
    refuse_first(verdicts, unread & ~error, "image_sha256", "is null, but the outcome is not error")
    seen = ~np.isnan(before) | ~np.isnan(verdicts.numbers["source_prediction"])
    refuse_first(verdicts, unread & seen, "clean_prediction", "is set, but the image could not be read")


def _check_distances(spec: Spec, verdicts: Verdicts) -> None:
    """Check that candidates are within the budget as the judge measures it, except INVALID ones."""
    distance, outcome = verdicts.numbers["distance"], _outcomes(verdicts)
    none = np.isnan(distance)
    counted = ~np.isin(outcome, ["invalid", "error"])
    most = np.float32(spec.budget.radius + allowance(spec.budget, math.prod(spec.profile.image_shape)))
    refuse_first(verdicts, counted & none, "distance", "is null, but there is a verdict")
    refuse_first(verdicts, counted & (distance > most), "distance", f"is more than the budget {spec.budget} allows")
    refuse_first(verdicts, (outcome == "error") & ~none, "distance", "is set, but the outcome is error")


def _check_attacks(spec: Spec, verdicts: Verdicts) -> None:
    """Check the attack of each candidate: none only where protocol and budget let an image stay clean."""
    attack, outcome = np.array(verdicts.texts["attack"], dtype=object), _outcomes(verdicts)
    known = [spec.attack.name, *([spec.fallback.name] if spec.fallback else []), _NONE]
    refuse_first(verdicts, ~np.isin(attack, known), "attack", f"is not one of {', '.join(known)}")
    clean, judged = attack == _NONE, outcome != "error"
    refuse_first(
        verdicts, clean & judged & ~(verdicts.numbers["distance"] == 0), "distance", "is not 0, but no attack is named"
    )
    if spec.budget.eps == 0:
        refuse_first(verdicts, ~clean & judged, "attack", "is named, but eps is 0")
    elif spec.protocol is Protocol.STRICT:
        refuse_first(verdicts, clean & judged, "attack", "is none, but protocol strict attacks every image")
    else:
        right = verdicts.numbers["source_prediction"] == verdicts.numbers["label"]
        refuse_first(
            verdicts, clean & judged & right, "attack", "is none, but the source is right: protocol paper attacks it"
        )
        refuse_first(
            verdicts, ~clean & judged & ~right, "attack", "is named, but the source is wrong: protocol paper skips it"
        )


def _check_phases(spec: Spec, verdicts: Verdicts, rows: list[Row]) -> None:
    """Check that the sample of a run with an estimate is the one that its seed draws, and large enough."""
    phase = verdicts.numbers["phase"]
    if spec.estimate is None:
        refuse_first(verdicts, ~np.isnan(phase), "phase", "is set, but spec.estimate is not")
        return
    refuse_first(verdicts, ~np.isin(phase, (FIRST, WHOLE)), "phase", f"is not {FIRST} or {WHOLE}")
    if (odd := out_of_order(spec, rows)) is not None:
        raise RefusedError(
            "verdicts.parquet: phase", f"{tame(odd)!r}: it is not in the sample, but comes before others"
        )
    if not TwoPhase(spec.estimate).done(counts_of(rows)):
        raise RefusedError("verdicts.parquet: phase", f"the sample is too small for {spec.estimate:g} points")


def _check_metrics(record: Record, rows: list[Row]) -> None:
    """Check every figure by recomputing it from the rows."""
    found = metrics_of(rows, sequence_of(record.spec, len(rows), record.population)).as_said(record.metrics)
    got = found.model_dump(mode="json")
    for name, said in record.metrics.model_dump(mode="json").items():
        if not _same(said, got[name]):
            raise RefusedError(f"metrics.{name}", f"is {_short(said)}, the verdicts give {_short(got[name])}")


def _check_standing(record: Record) -> None:
    """Whether the audit was run; the record has already checked that outcomes and audit give the reasons."""
    if record.eligible and not record.audit and record.spec.budget.eps > 0:
        raise RefusedError("audit", "is empty; expected the cheap checks of the battery because eps is above 0")


def _outcomes(verdicts: Verdicts) -> np.ndarray:
    return np.array(verdicts.texts["outcome"], dtype=object)


def _same(said: Any, got: Any) -> bool:
    if said is None or got is None:
        return said is got
    if isinstance(said, dict):
        return (
            isinstance(got, dict) and said.keys() == got.keys() and all(_same(said[name], got[name]) for name in said)
        )
    if isinstance(said, list | tuple):
        return len(said) == len(got) and all(map(_same, said, got))
    return bool(abs(said - got) <= _CLOSE)


def _short(value: Any) -> str:
    return f"{value:.9g}" if isinstance(value, float) else tame(value)

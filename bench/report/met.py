"""Conversion of runs for the rules of the ladder."""

from __future__ import annotations

from bench.checks.tiers import Met
from bench.core.canonical import digest
from bench.report.accuracy import robust
from bench.store.record import Record
from bench.store.run import Run


def adversary_of(record: Record) -> str:
    """The same for runs with the same threat and attack, including options; all threats with the target are one."""
    spec = record.spec
    fallback = None if spec.fallback is None else spec.fallback.model_dump(mode="json")
    threat = "white-box" if record.on_target else spec.threat.model_dump(mode="json")  # whatever its name
    return digest([threat, spec.attack.model_dump(mode="json"), fallback, spec.precision])


def met(run: Run) -> Met:
    """A run as an entry of its deployment's runs."""
    return Met(run.record.tier, adversary_of(run.record), robust(run.rows))

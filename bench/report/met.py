"""Runs as the rules of the ladder take them."""

from __future__ import annotations

from bench.checks.tiers import Met
from bench.core.canonical import digest
from bench.report.accuracy import robust
from bench.store.record import Record
from bench.store.run import Run


def adversary_of(record: Record) -> str:
    """Same for runs with the same threat and attack, options included; all threats that hold the target are one."""
    spec = record.spec
    fallback = None if spec.fallback is None else spec.fallback.model_dump(mode="json")
    threat = "white-box" if record.on_target else spec.threat.model_dump(mode="json")  # whatever it is called
    return digest([threat, spec.attack.model_dump(mode="json"), fallback, spec.precision])


def met(run: Run) -> Met:
    """A run as one of those that a deployment met."""
    return Met(run.record.tier, adversary_of(run.record), robust(run.rows))

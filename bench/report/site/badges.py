"""Badges for and against a run, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.report.board.model import RunPage
from bench.store.record import Record


@dataclass(frozen=True)
class Badge:
    """A label with its style and reason."""

    text: str
    kind: Literal["good", "plain", "warn", "bad"]
    why: str


def badges(page: RunPage) -> tuple[Badge, ...]:
    """All badges of a run, the most serious last."""
    record = page.evidence.record
    return (_audit(page), _verification(page), *_key(record), *_early(record), *_eligible(record))


def _audit(page: RunPage) -> Badge:
    """Which form of the audit ran, and what it found; from outside that is only what the submitter says."""
    record = page.evidence.record
    form = f"quick audit, {record.audit_images} images" if record.audit_images else "quick audit"
    if page.evidence.stated:
        said = ", ".join(f"{f.check}: {f.status}" for f in record.audit if f.status != "pass") or "all passed"
        return Badge("audit: stated", "warn", f"not repeated here; the submitter says of a {form}: {said}")
    bad = [f.check for f in record.audit if f.status == "fail"]
    odd = [f.check for f in record.audit if f.status == "warn"]
    if bad:
        return Badge(f"{form}: fail", "bad", f"failed: {', '.join(bad)}; the figure may overestimate the defense")
    if odd:
        return Badge(f"{form}: warn", "warn", f"warnings: {', '.join(odd)}")
    if not record.audit:
        return Badge("audit: none", "plain", "no checks were run")
    return Badge(f"{form}: pass", "good", "no cheap check found a sign that the figure overestimates the defense")


def _verification(page: RunPage) -> Badge:
    seen = page.evidence.confirmation
    if seen is None or not (page.evidence.confirmed or page.evidence.stated):
        return Badge("made here", "plain", "a run of this results folder; its images were not judged a second time")
    if page.evidence.stated:
        return Badge("stated", "warn", f"from outside and not confirmed, so not ranked; {'; '.join(seen.unchecked)}")
    rest = f"; not checked: {'; '.join(seen.unchecked)}" if seen.unchecked else ""
    return Badge("confirmed", "good", f"{seen.images:,} adversarial images were judged again here{rest}")


def _key(record: Record) -> tuple[Badge, ...]:
    key = record.spec.key
    if key is None or key.origin != "seed":
        return ()
    return (Badge("public key", "plain", "the defender's key is derived from the run's seed: it is not secret"),)


def _early(record: Record) -> tuple[Badge, ...]:
    if record.metrics.images == record.population:
        return ()
    return (Badge("ended early", "plain", f"{record.metrics.images:,} of {record.population:,} images were judged"),)


def _eligible(record: Record) -> tuple[Badge, ...]:
    if record.eligible:
        return ()
    return (Badge("not eligible", "bad", "; ".join(reason.text for reason in record.ineligible_because)),)

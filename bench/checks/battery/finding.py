"""The finding of a check, in one line, and the result of an adaptive attack against it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """Status of a finding; one FAIL makes the evaluation unreliable."""

    PASS = "pass"  # noqa: S105 (no password)
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        check: Name of the check.
        status: The status.
        figure: The measured value, usually a share of images in [0, 1]; None if nothing could be measured.
        meaning: One sentence: what was measured, and what it means.
    """

    check: str
    status: Status
    figure: float | None
    meaning: str


@dataclass(frozen=True)
class Answer:
    """A known adaptive attack against a finding.

    Attributes:
        check: The checks that it addresses, joined by commas.
        remedy: The attack, by its usual name.
        before: Robust accuracy under the plain white-box attack, in [0, 1].
        after: The same images under the plain and the adaptive attack together; an upper bound on robustness.
        images: Number of images.
        meaning: One sentence.
    """

    check: str
    remedy: str
    before: float
    after: float
    images: int
    meaning: str


def passed(check: str, figure: float | None, meaning: str) -> Finding:
    """The check passed."""
    return Finding(check, Status.PASS, figure, meaning)


def graded(check: str, figure: float | None, meaning: str, *, fail: bool, warn: bool = False) -> Finding:
    """Return FAIL if ``fail``, otherwise WARN if ``warn``, otherwise PASS."""
    status = Status.FAIL if fail else Status.WARN if warn else Status.PASS
    return Finding(check, status, figure, meaning)


def skipped(check: str, why: str) -> Finding:
    """The check was not run, with the reason."""
    return Finding(check, Status.SKIPPED, None, why)

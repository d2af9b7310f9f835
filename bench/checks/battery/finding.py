"""What a check found, in one line, and what a stronger attack made of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """What a finding says of the evaluation; one FAIL makes it unreliable."""

    PASS = "pass"  # noqa: S105 (no password)
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Finding:
    """One measured sign.

    Attributes:
        check: Its name.
        status: The judgement.
        figure: What was measured, most often a share of images in [0, 1]; None where nothing could be.
        meaning: One sentence: what was measured, and what it means.
    """

    check: str
    status: Status
    figure: float | None
    meaning: str


@dataclass(frozen=True)
class Answer:
    """A known adaptive attack against what a check found.

    Attributes:
        check: The checks that it answers, joined by commas.
        remedy: The attack, by its usual name.
        before: Robust accuracy under the plain white-box attack, in [0, 1].
        after: The same images under the plain and the adaptive attack together; an upper bound on robustness.
        images: How many.
        meaning: One sentence.
    """

    check: str
    remedy: str
    before: float
    after: float
    images: int
    meaning: str


def passed(check: str, figure: float | None, meaning: str) -> Finding:
    """Nothing is wrong."""
    return Finding(check, Status.PASS, figure, meaning)


def graded(check: str, figure: float | None, meaning: str, *, fail: bool, warn: bool = False) -> Finding:
    """FAIL before WARN before PASS."""
    status = Status.FAIL if fail else Status.WARN if warn else Status.PASS
    return Finding(check, status, figure, meaning)


def skipped(check: str, why: str) -> Finding:
    """Not measured; says why."""
    return Finding(check, Status.SKIPPED, None, why)

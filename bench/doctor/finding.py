"""The finding of a check: one line, and advice."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bench.core.errors import BenchError

_REPORT = "this is a fault of the installation or of bench: see `bench --debug`, or report it"
_FIRST = "fix the environment first"


class Health(StrEnum):
    """Severity of a finding; with a FAIL a run would fail."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Diagnosis:
    """One line of the report; ``advice`` says what to do, and is empty if there is no problem."""

    status: Health
    about: str
    finding: str
    advice: str = ""


@dataclass(frozen=True)
class Topic:
    """Creates the findings of one topic."""

    about: str

    def ok(self, finding: str) -> Diagnosis:
        """No problem."""
        return Diagnosis(Health.OK, self.about, finding)

    def warn(self, finding: str, advice: str) -> Diagnosis:
        """A run would succeed, but perhaps not as intended."""
        return Diagnosis(Health.WARN, self.about, finding, advice)

    def fail(self, finding: str, advice: str) -> Diagnosis:
        """A run would fail."""
        return Diagnosis(Health.FAIL, self.about, finding, advice)

    def wrong(self, finding: str, advice: str, *, fatal: bool) -> Diagnosis:
        """:meth:`fail` if ``fatal``, otherwise :meth:`warn`."""
        return self.fail(finding, advice) if fatal else self.warn(finding, advice)

    def error(self, error: Exception, *, fatal: bool = True) -> Diagnosis:
        """An error as a finding; in a BenchError's message the advice follows the first semicolon."""
        if not isinstance(error, BenchError):
            advice = _FIRST if isinstance(error, ImportError) or "torchvision::" in str(error) else _REPORT
            return self.wrong(reason(error), advice, fatal=fatal)
        finding, _, advice = one_line(error).partition("; ")
        return self.wrong(finding, advice or "give the expected value", fatal=fatal)


def reason(error: BaseException) -> str:
    """The kind of an error and its message, in one line."""
    return f"{type(error).__name__}: {one_line(error)}".removesuffix(": ")


def one_line(value: Any) -> str:
    """Text without line breaks."""
    return " ".join(str(value).split())


def gigabytes(count: float) -> str:
    """A number of bytes as text."""
    if count < 1e6:
        return f"{count / 1e3:.0f} kB"
    return f"{count / 1e6:.0f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"

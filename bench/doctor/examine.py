"""Runs all checks in turn; no check raises."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator

from bench.doctor.examined import Examined, Question
from bench.doctor.finding import Diagnosis, Health, Topic

Checker = Callable[[Examined], Iterator[Diagnosis]]

# Modules of this package that have a `check`, imported one by one, because a broken import may be the problem.
_CHECKS = ("environment", "plugins", "machine", "profile", "data", "weights", "keys", "disk", "results")
_OF_THE_PROFILE = ("data", "weights")


def examine(question: Question) -> Iterator[Diagnosis]:
    """Check everything that a run would need; findings are yielded as they are made.

    Args:
        question: The flags of the run.

    Yields:
        Findings. Any exception in a check becomes its finding.
    """
    examined, known = Examined(question), True
    for name in _CHECKS:
        if name in _OF_THE_PROFILE and not known:
            yield Topic(name).warn("not checked, because the profile cannot be used", "fix the profile first")
            continue
        failed = False
        for finding in _guarded(name, examined):
            failed = failed or finding.status is Health.FAIL
            yield finding
        if name == "profile":
            known = not failed


def _guarded(name: str, examined: Examined) -> Iterator[Diagnosis]:
    try:
        check: Checker = importlib.import_module(f"bench.doctor.{name}").check
        yield from check(examined)
    except Exception as error:  # any kind becomes a finding
        yield Topic(name).error(error)

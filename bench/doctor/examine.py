"""All checks, one after another; none of them raises."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator

from bench.doctor.finding import Diagnosis, Health, Topic
from bench.doctor.subject import Examined, Question

Check = Callable[[Examined], Iterator[Diagnosis]]

# Modules of this package that have a `check`, imported one by one: what one of them needs may be what is broken.
_CHECKS = ("environment", "plugins", "machine", "profile", "data", "weights", "keys", "disk", "results")
_OF_THE_PROFILE = ("data", "weights")


def examine(question: Question) -> Iterator[Diagnosis]:
    """Look at everything that a run would need; findings come as they are made.

    Args:
        question: The flags of the run.

    Yields:
        Findings. Whatever goes wrong in a check is its finding.
    """
    subject, known = Examined(question), True
    for name in _CHECKS:
        if name in _OF_THE_PROFILE and not known:
            yield Topic(name).warn("not looked at, since the profile cannot be used", "put the profile right first")
            continue
        failed = False
        for finding in _guarded(name, subject):
            failed = failed or finding.status is Health.FAIL
            yield finding
        if name == "profile":
            known = not failed


def _guarded(name: str, subject: Examined) -> Iterator[Diagnosis]:
    try:
        check: Check = importlib.import_module(f"bench.doctor.{name}").check
        yield from check(subject)
    except Exception as error:  # of any kind: it is what was found
        yield Topic(name).error(error)

"""All checks, or the cheap ones, in the required order."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from bench.checks.battery.answers import SHATTERED, answers, judged
from bench.checks.battery.attacking import QUICK, CheckEffort
from bench.checks.battery.draws import drawn
from bench.checks.battery.family import check_family
from bench.checks.battery.finding import Finding, Status, graded, skipped
from bench.checks.battery.gradients import check_gradient, check_saturation
from bench.checks.battery.lab import Lab
from bench.checks.battery.memory import check_memory
from bench.checks.battery.moved import check_beyond, check_moved
from bench.checks.battery.outputs import check_outputs, usable
from bench.checks.battery.ranges import check_range
from bench.checks.battery.repetition import check_batch, check_mode, check_repetition
from bench.checks.battery.smoothness import check_jumps, check_rise
from bench.checks.battery.sources import check_key, check_order, check_sources
from bench.checks.battery.state import StateCheck
from bench.checks.battery.strength import check_black_box, check_large_eps, check_losses
from bench.checks.battery.subject import Subject

Check = Callable[[], "Finding | list[Finding] | None"]
# Checks that compare answers, and the checks that must not have failed before them.
_NEEDS = {
    "batch": ("repetition",),
    "rise": ("repetition", "batch"),
    "jumps": ("repetition", "batch"),
    "range": ("outputs", "repetition", "batch"),
    "memory": ("repetition", "batch"),
    "moved copies": ("repetition", "batch"),
    "beyond eps": ("repetition", "batch"),
}
_MANY = 4  # the quick form attacks at a large eps if more than a quarter of the images withstand its short attack
# Checks that are skipped if the output is not readable.
_CHEAP = ("repetition", "batch", "mode", "ensemble", "gradient", "saturation", "rise", "jumps", "range")


def quick(subject: Subject) -> list[Finding]:
    """Run the cheap checks, with one short attack; more of them if images withstand it.

    Adaptive attacks run only if nothing fails and a check of gradients or jumps warns.
    """
    lab = Lab(subject, QUICK)
    found = _examine(lab, full=False)
    bad = any(f.status is Status.FAIL for f in found)
    asks = any(f.status is Status.WARN and f.check in SHATTERED and f.check not in lab.excused for f in found)
    return found + (judged(answers(subject, found, QUICK)) if asks and not bad else [])


def battery(subject: Subject, effort: CheckEffort | None = None) -> list[Finding]:
    """Run all checks."""
    return _examine(Lab(subject, effort or CheckEffort()), full=True)


def _examine(lab: Lab, *, full: bool) -> list[Finding]:
    with drawn(lab.seed, lab.batch):
        found: list[Finding] = []
        state = StateCheck(lab)
        broken = _guarded("state", state.begin)
        for name, check in _checks(lab, full=full):
            why = lab.why_not(*_NEEDS.get(name, ()))
            fresh = [skipped(name, why)] if why else _guarded(name, check)
            lab.found |= {finding.check: finding for finding in fresh}
            found += fresh
            if name == "outputs" and not usable(fresh[0]):
                return found + [skipped(n, "the output is not readable (see the check of outputs)") for n in _CHEAP]
        return found + (broken or _guarded("state", state.end))


def _checks(lab: Lab, *, full: bool) -> Iterator[tuple[str, Check]]:
    yield "outputs", lambda: check_outputs(lab)
    yield "repetition", lambda: check_repetition(lab)
    yield "batch", lambda: check_batch(lab)
    yield "mode", lambda: check_mode(lab)
    yield "ensemble", lambda: check_ensemble(lab)
    yield "gradient", lambda: check_gradient(lab)
    yield "saturation", lambda: check_saturation(lab)
    yield "rise", lambda: check_rise(lab)
    yield "jumps", lambda: check_jumps(lab)
    yield "range", lambda: check_range(lab)
    sources: list[Finding] = []

    def look_at_sources() -> list[Finding]:
        sources.extend(check_sources(lab))
        return sources

    yield "weak source", look_at_sources
    yield "key", lambda: check_key(lab, attack=full)
    yield "memory", lambda: check_memory(lab, attack=full)
    yield "family", lambda: check_family(lab)
    yield "moved copies", lambda: check_moved(lab)
    yield "beyond eps", lambda: check_beyond(lab)
    if full or int((lab.right & ~lab.margin_fooled).sum()) * _MANY > len(lab.batch):
        yield "large eps", lambda: check_large_eps(lab)
    if full:
        yield "adaptive order", lambda: check_order(lab, sources)
        yield "black-box", lambda: check_black_box(lab)
        yield "losses", lambda: check_losses(lab)


def check_ensemble(lab: Lab) -> Finding:
    """Whether the target answers with one of its members; all other checks then use their exact average."""
    if lab.average is None:
        return graded("ensemble", 0.0, "no module answers with one of several members", fail=False)
    what = ("the target answers with a random one of its members for each image: one call is one draw, and all other "
            "checks use the exact average of the members")  # fmt: skip
    return graded("ensemble", 1.0, what, fail=False, warn=True)


def _guarded(name: str, check: Check) -> list[Finding]:
    try:
        found = check()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # any exception that a model raises when called is a finding
        line = " ".join(str(error).split())[:200]
        return [
            graded(name, None, f"could not be measured, the model raises {type(error).__name__}: {line}", fail=True)
        ]
    return found if isinstance(found, list) else [found] if found else []

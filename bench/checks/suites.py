"""The fixed suite of each scope: the tries, threat with attack, that every ranked defense has to face.

A run satisfies a try only with packaged plug-ins whose options are at least as strong as their published defaults. The
plug-in classes of this package say what the defaults are; docs/leaderboard.md describes the rules.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Any, Literal

from bench.core.errors import BenchError
from bench.core.nouns import Precision
from bench.core.plugins import Plugin
from bench.core.registry import registry
from bench.core.spec import PluginSpec, Spec

_PACKAGE = "bench."  # of the modules of packaged plug-ins
_NOT_RUN = ": not run"
MORE: Literal["more"] = "more"  # a number that may be raised
# Options that only add strength: the other values that are as strong as the default. All others must be the default.
_STRONGER: Mapping[str, Mapping[str, Any]] = {
    "autoattack": {
        "version": ("plus",),
        "mode": ("budget",),
        "iterations": MORE,
        "queries": MORE,
        "targets": MORE,
        "restarts": MORE,
    },
    "transfer": {"steps": MORE, "samples": MORE},
    "square": {"queries": MORE},
    "query-score": {"queries": MORE},
}


class Scope(StrEnum):
    """Upper limit on what the adversaries of a figure have; figures of two scopes are never ranked together."""

    TRANSFER = "transfer"  # T0, T1, T1+: the pre-trained model, mechanism and data
    SIBLING = "sibling device"  # and T1s
    QUERIES = "queries"  # and T2, T3
    LEAKED = "leaked weights"  # and T4
    WHITE_BOX = "white-box"  # only T5: the positive control of a keyed defense, the headline of an unkeyed one


@dataclass(frozen=True)
class Try:
    """One attack of a suite under one threat.

    Attributes:
        threat: Name of the threat; ``white-box`` is satisfied by any run whose source is the target.
        attack: Name of the attack.
        fixed: Options of the attack with their only value.
    """

    threat: str
    attack: str
    fixed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Human-readable form: "adaptive: autoattack (mode = budget)"."""
        said = ", ".join(f"{name} = {value}" for name, value in self.fixed.items())
        return f"{self.threat}: {self.attack}" + (f" ({said})" if said else "")


@dataclass(frozen=True)
class Ran:
    """A run as far as suites are concerned.

    Attributes:
        spec: Of the run.
        on_target: Whether its source is the target itself.
        weak: Whether the source is so inaccurate that its images say nothing about the target.
    """

    spec: Spec
    on_target: bool
    weak: bool = False


def _both(threat: str) -> tuple[Try, Try]:
    """The two attacks that need no answers of the target: made for transfer, and AutoAttack to its full length."""
    return Try(threat, "transfer"), Try(threat, "autoattack", {"mode": "budget"})


_TRANSFER = (*_both("non-adaptive"), *_both("adaptive"))
_QUERIES = (*_TRANSFER, Try("query-score", "square"))
SUITES: Mapping[Scope, tuple[Try, ...]] = {
    Scope.TRANSFER: _TRANSFER,
    Scope.SIBLING: (*_TRANSFER, *_both("cross-key")),
    Scope.QUERIES: _QUERIES,
    Scope.LEAKED: (*_QUERIES, Try("leaked-weights", "autoattack", {"mode": "budget"})),
    Scope.WHITE_BOX: (Try("white-box", "autoattack"),),
}


# The columns of the paper's table: one attack each, under the paper's protocol.
PAPER = (
    Try("non-adaptive", "autoattack", {"mode": "budget"}),
    Try("adaptive", "autoattack", {"mode": "budget"}),
    Try("white-box", "autoattack"),
)


def missing(scope: Scope, runs: Iterable[Ran]) -> list[str]:
    """What the runs against one deployment lack of the suite of a scope, one line for each try; empty if nothing.

    Args:
        scope: Defenses without a key have only the scope white-box.
        runs: On the same images, within the same budget.
    """
    found = list(runs)
    return [text for one in SUITES[scope] if (text := _lack(one, found))]


def missing_of_paper(run: Ran) -> list[str]:
    """Why a run under the paper's protocol is not a column of its table; empty if it is one."""
    lacks = [_lack(one, [run]) for one in PAPER]
    if None in lacks:
        return []
    near = [text for text in lacks if text and not text.endswith(_NOT_RUN)]
    return near or ["it is not a column of the paper's table: " + ", ".join(one.name for one in PAPER)]


def packaged(kind: str, plugin: PluginSpec) -> bool:
    """Whether a plug-in is one of this package; what another one declares is only stated.

    Args:
        kind: The registry's name of the kind, such as ``threats``.
        plugin: Its name and the digest of its code.
    """
    return plugin.code is None and _class(kind, plugin.name) is not None


def satisfied(scope: Scope, run: Ran) -> Try | None:
    """The try of a suite that a run satisfies; None if it satisfies none."""
    return next((one for one in SUITES[scope] if _meant(one, run) and not _doubts(one, run)), None)


def weaknesses(one: Try, spec: Spec) -> list[str]:
    """Why a run with the threat and the attack of a try is weaker than the try asks for; empty if it is not."""
    out = _weaker("attacks", spec.attack, one.fixed)
    if one.threat != "white-box":
        out += _weaker("threats", spec.threat, {})
    if spec.precision is not Precision.FP32:
        out.append(f"the search is in {spec.precision}, needs {Precision.FP32}")
    if spec.stop_at is not None:
        out.append("it may stop early, needs all images")
    if spec.estimate is not None:
        out.append("it is estimated from a sample, needs the whole attack on all images")
    return out


def _lack(one: Try, runs: list[Ran]) -> str | None:
    meant = [_doubts(one, run) for run in runs if _meant(one, run)]
    if not meant:
        return f"{one.name}{_NOT_RUN}"
    least = min(meant, key=len)
    return f"{one.name}: {'; '.join(least)}" if least else None


def _doubts(one: Try, run: Ran) -> list[str]:
    return weaknesses(one, run.spec) + (["its source is too weak to say anything"] if run.weak else [])


def _meant(one: Try, run: Ran) -> bool:
    same = run.on_target if one.threat == "white-box" else run.spec.threat.name == one.threat
    return same and run.spec.attack.name == one.attack


def _weaker(kind: str, plugin: PluginSpec, fixed: Mapping[str, Any]) -> list[str]:
    found = _class(kind, plugin.name)
    if found is None or plugin.code is not None:
        return [f"{plugin.name} is not a plug-in of this package"]
    default = _defaults(found)
    stronger, given, out = _STRONGER.get(plugin.name, {}), {**default, **plugin.options}, []
    for name, value in given.items():
        if name not in default:
            out.append(f"{name} is unknown")
        elif name in fixed:
            out += [] if _same(value, fixed[name]) else [f"{name} is {_said(value)}, needs {_said(fixed[name])}"]
        elif not _as_strong(value, default[name], stronger.get(name)):
            more = " or more" if stronger.get(name) == MORE else ""
            out.append(f"{name} is {_said(value)}, needs {_said(default[name])}{more}")
    return out


def _as_strong(value: Any, default: Any, rule: Any) -> bool:
    """Whether a value is the default or one that only adds strength."""
    if _same(value, default):
        return True
    if rule == MORE:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and (default is None or value >= default)
    return rule is not None and value in rule


def _same(value: Any, other: Any) -> bool:
    return isinstance(value, bool) == isinstance(other, bool) and bool(value == other)


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _class(kind: str, name: str) -> type[Plugin] | None:
    """The class of a packaged plug-in; None for any other one, also under the name of a packaged one."""
    try:
        plugin: type[Plugin] = registry(kind).load(name)
    except BenchError:
        return None
    return plugin if plugin.__module__.startswith(_PACKAGE) else None


@cache
def _defaults(plugin: type[Plugin]) -> dict[str, Any]:
    """Its published defaults in the format of a record."""
    return plugin().options()

"""Checks of an untrusted record beyond its schema."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import PurePath
from typing import Any

from bench.core.errors import BenchError
from bench.core.nouns import Protocol
from bench.core.registry import registry
from bench.core.spec import PluginSpec, Spec
from bench.core.tiers import TIERS
from bench.engine.declared import changed_options, for_transfer, recipe_of, threat_about
from bench.engine.holders import seeded_key
from bench.store.record import Record
from bench.store.untrusted import RefusedError, check_name, check_spelling, parse_document, tame
from bench.submissions.verdicts import MOST_ROWS

MOST_BYTES = 1_000_000
# Fraction() of a text such as 1e999999999 never returns, so a radius is checked before it is computed.
_RADIUS = re.compile(r"[0-9]{1,18}(\.[0-9]{1,18})?(/[0-9]{1,18})?")
_EXPONENT = re.compile(r"\s*[+-]?[\d._]*e[+-]?\d{3,}\s*", re.IGNORECASE)
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_SIDE, _CHANNELS = 4096, 16  # of an image
_CLASSES = 1_000_000
_KINDS = {"defense": "defenses", "threat": "threats", "attack": "attacks", "fallback": "attacks"}


def parse_record(data: bytes) -> Record:
    """A record with plausible texts, names and figures; its rows are not checked.

    Raises:
        RefusedError: for the first field that is not plausible.
    """
    record = parse_document(data, Record, "record.json")
    _check_numbers(record.spec)
    _check_names(record)
    _check_world(record)
    _check_adversary(record)
    _check_key(record.spec)
    return record


def _check_numbers(spec: Spec) -> None:
    """Numbers that are written as text; the budget has been read already."""
    for norm, radius in spec.profile.budgets.items():
        if not _RADIUS.fullmatch(radius):
            raise RefusedError(f"spec.profile.budgets.{norm}", f"is {tame(radius, 40)!r}; expected a radius")
    for path, value in _leaves(spec.model_dump(mode="json"), "spec"):
        if isinstance(value, str) and _EXPONENT.fullmatch(value):
            raise RefusedError(path, f"is {tame(value, 40)!r}, a number too large or too small")


def _check_names(record: Record) -> None:
    spec = record.spec
    named: list[tuple[str, str | None]] = [
        ("spec.profile.name", spec.profile.name),
        ("spec.profile.dataset", spec.profile.dataset),
        ("spec.profile.preprocessing.name", spec.profile.preprocessing.name),
        ("provenance.key_name", record.provenance.key_name),
        ("recipe", record.recipe),
        *((f"spec.profile.recipes.{tame(name, 40)}", name) for name in spec.profile.recipes),
        *((f"cost.parts.{i}.attack", part.attack) for i, part in enumerate(record.cost.parts)),
    ]
    for which in ("base", "start"):
        base = getattr(spec.profile, which)
        if base is not None:
            named += [(f"spec.profile.{which}.architecture", base.architecture)]
            named += [(f"spec.profile.{which}.pretrained", base.pretrained)]
    for section in ("defense", "threat", "attack", "fallback"):
        plugin: PluginSpec | None = getattr(spec, section)
        if plugin is not None:
            named += [(f"spec.{section}.name", plugin.name)]
            named += [(f"spec.{section}.options", option) for option in plugin.options]
    for field, name in named:
        check_name(name, field)
    ids = spec.ids.name if spec.ids else "x"
    if PurePath(ids).name != ids or "\\" in ids or ids.startswith(("-", ".")):
        raise RefusedError("spec.ids.name", f"is {tame(ids, 60)!r}; expected the name of a file, without its folder")


def _check_world(record: Record) -> None:
    """Refuse sizes that no honest run has and that would take too long to compute."""
    spec, profile = record.spec, record.spec.profile
    channels, *sides = profile.image_shape
    if not 1 <= channels <= _CHANNELS or not all(1 <= side <= _SIDE for side in sides):
        raise RefusedError("spec.profile.image_shape", f"is {list(profile.image_shape)}; expected (C, H, W)")
    for field, value, most in (
        ("metrics.images", record.metrics.images, MOST_ROWS),
        ("population", record.population, MOST_ROWS),
        ("spec.profile.classes", profile.classes, _CLASSES),
    ):
        if value > most:
            raise RefusedError(field, f"is {value}; expected at most {most}")
    if spec.stop_at is not None and not 1e-3 <= spec.stop_at < 50:
        raise RefusedError("spec.stop_at", f"is {spec.stop_at:g}; expected percentage points from 0.001 to below 50")
    if spec.estimate is not None and not 1e-3 <= spec.estimate < 50:
        raise RefusedError("spec.estimate", f"is {spec.estimate:g}; expected percentage points from 0.001 to below 50")
    if spec.estimate is not None and (spec.stop_at is not None or spec.quantize is not None or not record.on_target):
        raise RefusedError("spec.estimate", "is set; expected a run on the target itself without stop_at and quantize")
    if spec.protocol is Protocol.PAPER and spec.fallback is not None:
        raise RefusedError("spec.fallback", "is set, but protocol paper has none")
    made = record.provenance
    try:
        datetime.fromisoformat(made.started)
    except ValueError:
        raise RefusedError("provenance.started", f"is {tame(made.started, 40)!r}; expected an ISO 8601 time") from None
    if made.git_commit is not None and not _COMMIT.fullmatch(made.git_commit):
        raise RefusedError("provenance.git_commit", f"is {tame(made.git_commit, 60)!r}; expected hexadecimal digits")


def _check_adversary(record: Record) -> None:
    """Compare with the declarations of installed plug-ins; otherwise check that the tier exists."""
    said, spec = record.adversary, record.spec
    if said.tier not in TIERS:
        raise RefusedError("adversary.tier", f"is {tame(said.tier, 40)!r}; expected one of {', '.join(TIERS)}")
    installed = {kind: plugin.name in registry(_KINDS[kind]).names() for kind, plugin in _plugins(spec).items()}
    if installed["threat"]:
        _compare(record, "threat", {f"adversary.{name}": value for name, value in _threat(spec).items()})
    if installed["attack"]:
        _compare(record, "attack", {"adversary.for_transfer": for_transfer(spec.attack)})
    if installed["defense"]:
        _compare(record, "defense", {"recipe": recipe_of(spec.defense)})
    for kind, plugin in _plugins(spec).items():
        if installed[kind]:
            if kind != "defense":  # other options make another model, which is compared by its digest
                _check_options(kind, plugin)
            _compare(record, kind, {f"changed.{kind}": changed_options(_KINDS[kind], plugin)})


def _check_options(kind: str, plugin: PluginSpec) -> None:
    """Check that options are those that the plug-in itself writes: "30" is not 30, and another run id."""
    try:
        made = registry(_KINDS[kind]).make(plugin.name, plugin.options)
    except BenchError as error:
        raise RefusedError(f"spec.{kind}.options", str(error)) from None
    check_spelling(plugin.options, made.options(), f"spec.{kind}.options.")


def _plugins(spec: Spec) -> dict[str, PluginSpec]:
    found = {kind: getattr(spec, kind) for kind in _KINDS}
    return {kind: plugin for kind, plugin in found.items() if plugin is not None}


def _threat(spec: Spec) -> dict[str, Any]:
    try:
        made = threat_about(registry("threats").make(spec.threat.name, spec.threat.options))
    except BenchError as error:
        raise RefusedError("spec.threat.options", str(error)) from None
    return {name: made[name] for name in ("tier", "knows", "access", "queries", "query_budget")}


def _compare(record: Record, kind: str, expected: dict[str, Any]) -> None:
    name = _plugins(record.spec)[kind].name
    for field, value in expected.items():
        said: Any = record
        for part in field.split("."):
            said = getattr(said, part)
        if said != value:
            raise RefusedError(field, f"is {tame(said, 80)}; {kind} {name} has {tame(value, 80)}")


def _check_key(spec: Spec) -> None:
    """Check that a key derived from the seed has its fingerprint."""
    if spec.key is None or spec.key.origin != "seed":
        return
    expected = seeded_key(spec.seed).fingerprint
    if spec.key.fingerprint != expected:
        raise RefusedError(
            "spec.key.fingerprint", f"is {spec.key.fingerprint}; the key of seed {spec.seed} has {expected}"
        )


def _leaves(data: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(data, dict):
        for name, value in data.items():
            yield from _leaves(value, f"{path}.{name}")
    elif isinstance(data, list):
        for at, value in enumerate(data):
            yield from _leaves(value, f"{path}.{at}")
    elif not isinstance(data, float) or math.isfinite(data):
        yield path, data

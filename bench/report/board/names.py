"""How defenses, adversaries and worlds are called, for people; every name comes from a record, so it is not trusted."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from bench.core.canonical import digest
from bench.core.errors import BenchError
from bench.core.nouns import Precision
from bench.core.profile import Profile, load_profile, profile_names
from bench.core.registry import registry
from bench.core.spec import PluginSpec, Spec
from bench.store.record import Record

# Options of a keyed defense with a short form of their own, in the order in which they are read.
_SHORT = {"transform": "{}", "block_size": "P = {}", "rank": "rank {}"}
# What decides which images are judged and how they look; figures over different ones are never ranked together.
_WORLD = ("dataset", "classes", "image_shape", "preprocessing")
_SHOWN = 6  # hexadecimal digits that tell two worlds of one name apart


def defense_title(spec: Spec) -> str:
    """The defense with the options that matter, and its architecture where that is not the profile's own."""
    options = dict(spec.defense.options)
    zoo = spec.defense.name == "robustbench" and "model" in options
    parts = [str(options.pop("model"))] if zoo else [spec.defense.name]
    parts += [form.format(options.pop(name)) for name, form in _SHORT.items() if name in options]
    parts += _changed("defenses", spec.defense.name, options)
    if not zoo:
        parts += _changes(spec)
    return ", ".join(parts)


def adversary_title(spec: Spec) -> str:
    """Threat and attack with the options that are not the defaults: "adaptive: transfer"."""
    return f"{threat_title(spec)}: {attack_title(spec)}"


def threat_title(spec: Spec) -> str:
    """With the options that are not the defaults."""
    return _plugin("threats", spec.threat)


def attack_title(spec: Spec) -> str:
    """With the options that are not the defaults, and the precision of its search where that is not float32."""
    attack = _plugin("attacks", spec.attack)
    return attack if spec.precision is Precision.FP32 else f"{attack} in {spec.precision}"


def run_title(spec: Spec) -> str:
    """Defense, adversary, budget, protocol."""
    budget = spec.budget
    return f"{defense_title(spec)} against {adversary_title(spec)}, {budget.norm} {budget.eps}, {spec.protocol}"


def world_of(record: Record) -> str:
    """The profile's name; with some digits where it is not the world that comes with the package under that name."""
    profile = record.spec.profile
    world = _world(profile)
    own = _shipped(profile.name)
    if own is not None and _world(own) == world:
        # the user's own folder: which images it holds is known by their digest alone
        return f"{profile.name} {record.digests.data[:_SHOWN]}" if profile.dataset == "image-folder" else profile.name
    return f"{profile.name} (changed, {world[:_SHOWN]})"


def _plugin(kind: str, spec: PluginSpec) -> str:
    changed = _changed(kind, spec.name, spec.options)
    return f"{spec.name} ({', '.join(changed)})" if changed else spec.name


def _changed(kind: str, name: str, options: dict[str, Any]) -> list[str]:
    default = _defaults(kind, name)
    return [f"{key} = {value}" for key, value in options.items() if key not in default or default[key] != value]


def _changes(spec: Spec) -> list[str]:
    """In what the profile's base and this defense's recipe are not those that come with the package."""
    own, profile = _shipped(spec.profile.name), spec.profile
    if own is None:
        return []
    out = []
    if own.base.architecture != profile.base.architecture:
        out.append(f"on {profile.base.architecture}")
    elif own.base != profile.base:
        out.append("on another base" if own.base.name == profile.base.name else f"on {profile.base.name}")
    tuning = _tuning(spec.defense.name)
    if tuning and (own.recipes.get(tuning), own.start) != (profile.recipes.get(tuning), profile.start):
        out.append("another recipe")
    return out


def _world(profile: Profile) -> str:
    data = profile.model_dump(mode="json", include=set(_WORLD))
    return digest(data)


@cache
def _shipped(name: str) -> Profile | None:
    return load_profile(name) if name in profile_names() else None


@cache
def _tuning(defense: str) -> str | None:
    """The name of the defense's recipe in the profile."""
    try:
        tuning: str | None = registry("defenses").load(defense).tuning
        return tuning
    except BenchError:
        return None


@cache
def _defaults(kind: str, name: str) -> dict[str, Any]:
    """The options of a plug-in that is given none; nothing where it is not here."""
    try:
        plugin = registry(kind).load(name)
    except BenchError:
        return {}
    fields = plugin.model_fields.items()
    given = {key: field.get_default(call_default_factory=True) for key, field in fields if not field.is_required()}
    plain: dict[str, Any] = json.loads(json.dumps(given, default=str))  # as a record holds them: no tuples
    return plain

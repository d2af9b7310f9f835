"""Human-readable names of defenses, adversaries and profiles; all names come from records and are not trusted."""

from __future__ import annotations

from functools import cache
from typing import Any

from bench.core.canonical import digest
from bench.core.nouns import Precision
from bench.core.profile import Profile, load_profile, profile_names
from bench.core.spec import PluginSpec
from bench.store.record import Record

# Options of a keyed defense with a short form, in display order.
_SHORT = {"transform": "{}", "block_size": "P = {}", "rank": "rank {}"}
# What determines the judged images and their preprocessing; figures over different ones are never ranked together.
_WORLD = ("dataset", "classes", "image_shape", "preprocessing")
_SHOWN = 6  # hexadecimal digits that distinguish two profiles of one name


def defense_title(record: Record) -> str:
    """The defense with the options that matter, and its architecture if it differs from the profile's."""
    defense = record.spec.defense
    options = dict(defense.options)
    zoo = defense.name == "robustbench" and "model" in options
    parts = [str(options.pop("model"))] if zoo else [defense.name]
    parts += [form.format(options.pop(name)) for name, form in _SHORT.items() if name in options]
    parts += _changed(options, record.changed.defense)
    if not zoo:
        parts += _changes(record)
    return ", ".join(parts)


def same_defense(record: Record) -> str:
    """The same for runs of one defense: its options, the models that it starts from, and its recipe."""
    profile, recipe = record.spec.profile, record.recipe
    models = [base.model_dump(mode="json") if base else None for base in (profile.base, profile.start)]
    how = profile.recipes[recipe].model_dump(mode="json") if recipe in profile.recipes else None
    return digest([record.spec.defense.model_dump(mode="json"), *models, how])


def adversary_title(record: Record) -> str:
    """Threat and attack with their non-default options: "adaptive: transfer"."""
    return f"{threat_title(record)}: {attack_title(record)}"


def threat_title(record: Record) -> str:
    """With the non-default options."""
    return _plugin(record.spec.threat, record.changed.threat)


def attack_title(record: Record) -> str:
    """With the non-default options, and the precision of its search if it is not float32."""
    attack, precision = _plugin(record.spec.attack, record.changed.attack), record.spec.precision
    return attack if precision is Precision.FP32 else f"{attack} in {precision}"


def run_title(record: Record) -> str:
    """Defense, adversary, budget, protocol."""
    budget, protocol = record.spec.budget, record.spec.protocol
    return f"{defense_title(record)} against {adversary_title(record)}, {budget.norm} {budget.eps}, {protocol}"


def world_of(record: Record) -> str:
    """The profile's name; with some digits if it differs from the built-in profile of that name."""
    profile = record.spec.profile
    world = _world(profile)
    own = _shipped(profile.name)
    if own is not None and _world(own) == world:
        # the user's own folder: its images are known only by their digest
        return f"{profile.name} {record.digests.data[:_SHOWN]}" if profile.dataset == "image-folder" else profile.name
    return f"{profile.name} (changed, {world[:_SHOWN]})"


def _plugin(plugin: PluginSpec, changed: list[str]) -> str:
    said = _changed(plugin.options, changed)
    return f"{plugin.name} ({', '.join(said)})" if said else plugin.name


def _changed(options: dict[str, Any], changed: list[str]) -> list[str]:
    return [f"{name} = {value}" for name, value in options.items() if name in changed]


def _changes(record: Record) -> list[str]:
    """Differences of the profile's base and this defense's recipe from the built-in ones."""
    profile, recipe = record.spec.profile, record.recipe
    own = _shipped(profile.name)
    if own is None:
        return []
    out = []
    if own.base.architecture != profile.base.architecture:
        out.append(f"on {profile.base.architecture}")
    elif own.base != profile.base:
        out.append("on another base" if own.base.name == profile.base.name else f"on {profile.base.name}")
    if recipe and (own.recipes.get(recipe), own.start) != (profile.recipes.get(recipe), profile.start):
        out.append("another recipe")
    return out


def _world(profile: Profile) -> str:
    data = profile.model_dump(mode="json", include=set(_WORLD))
    return digest(data)


@cache
def _shipped(name: str) -> Profile | None:
    return load_profile(name) if name in profile_names() else None

"""The command that reproduces a run: a Spec converted back to the flags of `bench run`."""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Any

from bench.core.errors import BenchError
from bench.core.nouns import Precision
from bench.core.profile import Profile, load_profile, profile_names
from bench.core.registry import registry
from bench.core.spec import PluginSpec, Spec

_KINDS = {"defense": "defenses", "threat": "threats", "attack": "attacks", "fallback": "attacks"}


def command_of(spec: Spec, key_name: str | None = None, changed: Mapping[str, Collection[str]] | None = None) -> str:
    """`bench run` with every flag that a Spec needs, quoted for a shell; defaults are omitted.

    Folders and device are not included: they do not affect verdicts.

    Args:
        spec: The run.
        key_name: The keyring's name of the defender's key, for a Spec with a key that is not derived from its seed.
        changed: For each plug-in (defense, threat, attack, fallback) the options to name, as a record keeps them; None
            for those that are not the defaults of the installed plug-ins.
    """
    budget = spec.budget
    known = _shipped(spec.profile.name) is not None
    flags: list[tuple[str, Any]] = [
        ("profile", spec.profile.name if known else f"{spec.profile.name}.yaml"),
        ("defense", spec.defense.name),
        ("threat", spec.threat.name),
        ("attack", spec.attack.name),
        ("norm", budget.norm),
        ("eps", budget.eps),
        ("protocol", spec.protocol),
        ("seed", spec.seed or None),
        ("limit", spec.limit),
        ("ids", spec.ids.name if spec.ids else None),
        ("stop-at-precision", f"{spec.stop_at:g}" if spec.stop_at else None),
        ("estimate", f"{spec.estimate:g}" if spec.estimate else None),
        ("batch-size", spec.batch_size if spec.batch_size != spec.profile.batch_size else None),
        ("precision", spec.precision if spec.precision is not Precision.FP32 else None),
        ("quantize", spec.quantize),
        ("key", _key(spec, key_name)),
        ("judge-device", spec.device or None),
    ]
    words = ["bench", "run"]
    for name, value in flags:
        if value is not None:
            words += [f"--{name}", str(value)]
    for name, value in _settings(spec, changed):
        words += ["--set", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
    return shlex.join(words)


def _key(spec: Spec, key_name: str | None) -> str | None:
    if spec.key is None or spec.key.origin == "seed":
        return None
    return key_name or f"KEY-WITH-FINGERPRINT-{spec.key.fingerprint}"


def _settings(spec: Spec, changed: Mapping[str, Collection[str]] | None) -> Iterator[tuple[str, Any]]:
    """Differences from the defaults, with dotted names."""
    for section, kind in _KINDS.items():
        plugin: PluginSpec | None = getattr(spec, section)
        if plugin is not None:
            told = _changed(kind, plugin) if changed is None else changed[section]
            yield from ((f"{section}.{name}", value) for name, value in plugin.options.items() if name in told)
    yield from _differences(_profile(spec.profile), spec.profile.model_dump(mode="json"), "profile")


def _changed(kind: str, plugin: PluginSpec) -> list[str]:
    default = _defaults(kind, plugin.name)
    return [name for name, value in plugin.options.items() if name not in default or default[name] != value]


def _defaults(kind: str, name: str) -> dict[str, Any]:
    """The default options of a plug-in; empty if it is not installed or has required options."""
    try:
        return dict(registry(kind).make(name, {}).options())
    except BenchError:
        return {}


def _profile(profile: Profile) -> dict[str, Any]:
    """The built-in profile of that name, otherwise the given one."""
    return _shipped(profile.name) or profile.model_dump(mode="json")


@cache
def _shipped(name: str) -> dict[str, Any] | None:
    return load_profile(name).model_dump(mode="json") if name in profile_names() else None


def _differences(before: dict[str, Any], after: dict[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for name, value in after.items():
        old, here = before.get(name), f"{path}.{name}"
        if isinstance(old, dict) and isinstance(value, dict) and set(old) <= set(value):
            yield from _differences(old, value, here)
        elif old != value:
            yield here, value

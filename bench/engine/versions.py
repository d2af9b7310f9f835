"""The code of plug-ins from outside this package: a part of the identity of a run, of its models and of its images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench.core.canonical import digest
from bench.core.errors import InputError
from bench.core.names import KINDS
from bench.core.plugins.plugin import Plugin
from bench.core.registry import registry
from bench.core.spec import PluginSpec, Spec

_SECTIONS = {"defense": "defenses", "threat": "threats", "attack": "attacks", "fallback": "attacks"}


def named(kind: str, name: str, plugin: Plugin) -> PluginSpec:
    """A plug-in with its options and, if it or one that its options name is from outside, with their code.

    Raises:
        InputError: if the code cannot be read.
    """
    options = plugin.options()
    return PluginSpec(name=name, options=options, code=code_of(kind, name, options))


def check_code(spec: Spec) -> None:
    """Compare the code of the plug-ins that are installed with that of a Spec.

    Raises:
        InputError: if one of them differs.
    """
    for section, plugin in _plugins(spec):
        here = code_of(_SECTIONS[section], plugin.name, plugin.options)
        if here != plugin.code:
            raise InputError(f"{section} {plugin.name} has {_said(here)} here, the run {_said(plugin.code)}; expected "
                             "the version of the plug-in that the run names: install it, or run again")  # fmt: skip


def outsiders(spec: Spec, backend: str) -> list[str]:
    """A note on the plug-ins from outside that take part in a run, if there are any."""
    found = [f"{section} {plugin.name} ({_known(_SECTIONS[section], plugin.name)}code {plugin.code[:12]})"
             for section, plugin in _plugins(spec) if plugin.code]  # fmt: skip
    for kind, name in (("datasets", spec.profile.dataset), ("backends", backend)):
        if code := registry(kind).code(name):
            found.append(f"{kind.removesuffix('s')} {name} ({_known(kind, name)}code {code[:12]})")
    return [f"plug-ins from outside this package took part: {', '.join(found)}"] if found else []


def _known(kind: str, name: str) -> str:
    return f"{registry(kind).origin(name)}, " if registry(kind).code(name) else ""


def _plugins(spec: Spec) -> Iterator[tuple[str, PluginSpec]]:
    for section in _SECTIONS:
        plugin: PluginSpec | None = getattr(spec, section)
        if plugin is not None:
            yield section, plugin


def code_of(kind: str, name: str, options: dict[str, Any]) -> str | None:
    """SHA-256 of a plug-in's code and of that of the plug-ins that its options name, such as a transform.

    None if all of them are part of this package.

    Raises:
        InputError: if the code cannot be read.
    """
    own, others = registry(kind).code(name), dict[str, str]()
    for part in {part for text in _texts(options) for part in text.split("+")}:
        for other in KINDS:
            if code := registry(other).code(part):
                others[f"{other}/{part}"] = code
    return digest([own, others]) if others else own


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def _said(code: str | None) -> str:
    return f"code {code[:12]}" if code else "no code from outside"

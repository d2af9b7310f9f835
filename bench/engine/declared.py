"""Declarations of plug-ins in the format of a record, so that readers do not need the plug-ins."""

from __future__ import annotations

import json
from typing import Any

from bench.core.plugins import Threat
from bench.core.registry import registry
from bench.core.spec import PluginSpec, Spec
from bench.store.record import AdversaryAbout, Changed


def adversary_about(threat: Threat, attack: PluginSpec) -> AdversaryAbout:
    """Declarations of a threat model and an attack, for the record.

    Raises:
        UnknownNameError: if the attack is not installed.
    """
    return AdversaryAbout(**threat_about(threat), for_transfer=for_transfer(attack))


def threat_about(threat: Threat) -> dict[str, Any]:
    """Declarations of a threat model, by the names of the record's fields."""
    return {
        "tier": threat.tier,
        "knows": sorted(threat.knows),
        "access": threat.access,
        "queries": threat.queries,
        "query_budget": threat.query_budget,
        "cost": threat.cost,
    }


def for_transfer(attack: PluginSpec) -> bool:
    """Whether an attack is designed for transfer.

    Raises:
        UnknownNameError: if the attack is not installed.
    """
    made: bool = registry("attacks").load(attack.name).for_transfer
    return made


def recipe_of(defense: PluginSpec) -> str | None:
    """The name of the profile's recipe that trains a defense, None if there is none.

    Raises:
        UnknownNameError: if the defense is not installed.
    """
    tuning: str | None = registry("defenses").load(defense.name).tuning
    return tuning


def changed_of(spec: Spec) -> Changed:
    """Options with non-default values, for the record.

    Raises:
        UnknownNameError: if a plug-in is not installed.
    """
    return Changed(
        defense=changed_options("defenses", spec.defense),
        threat=changed_options("threats", spec.threat),
        attack=changed_options("attacks", spec.attack),
        fallback=changed_options("attacks", spec.fallback) if spec.fallback else [],
    )


def changed_options(kind: str, plugin: PluginSpec) -> list[str]:
    """Names of the options with non-default values, in their order.

    Args:
        kind: The registry's name of the kind, such as ``defenses``.
        plugin: The plug-in with all its options.

    Raises:
        UnknownNameError: if the plug-in is not installed.
    """
    default = _defaults(kind, plugin.name)
    return [name for name, value in plugin.options.items() if name not in default or default[name] != value]


def _defaults(kind: str, name: str) -> dict[str, Any]:
    """The default options of a plug-in in the format of a record: no tuples."""
    fields = registry(kind).load(name).model_fields
    given = {
        key: field.get_default(call_default_factory=True) for key, field in fields.items() if not field.is_required()
    }
    plain: dict[str, Any] = json.loads(json.dumps(given, default=str))
    return plain

"""Names of threats and budgets in figures and the accompanying tables."""

from __future__ import annotations

from bench.core.budget import Budget
from bench.core.spec import PluginSpec

# Options that distinguish the rungs of one threat.
_TELLING = ("members", "base", "query_budget", "queries", "how", "compromised")
_NORMS = {"linf": "l∞", "l2": "l2", "l1": "l1"}


def named(plugin: PluginSpec) -> str:
    """A threat with the options that distinguish rungs: ``adaptive-ensemble (members=4, base)``."""
    options = {name: plugin.options[name] for name in _TELLING if plugin.options.get(name) not in (None, False)}
    words = ", ".join(name if value is True else f"{name}={value}" for name, value in options.items())
    return f"{plugin.name} ({words})" if words else plugin.name


def budget_words(budget: Budget) -> str:
    """``linf:1/10`` as ``l∞, ε = 1/10``."""
    return f"{_NORMS.get(budget.norm, budget.norm)}, ε = {budget.eps}"

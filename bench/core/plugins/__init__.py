"""The base classes for contributors, one for each kind of plug-in, and the inputs of their methods.

A plug-in is one class in one file, registered by one entry point. Its pydantic fields are its options, and `bench list`
shows the first line of its docstring. The base class of its kind declares everything else that a class may set, with
its default; a name that the base does not declare is refused when the class is created (``contract``).
"""

from __future__ import annotations

from bench.core.plugins.attack import Attack
from bench.core.plugins.backend import Backend, Crew, Done, Lost
from bench.core.plugins.dataset import Dataset, Split, Storage
from bench.core.plugins.defense import Defense, InnerAdversary, Kit, TrainingMeans
from bench.core.plugins.plugin import Plugin
from bench.core.plugins.threat import Knowledge, Leak, Threat, View, Workshop
from bench.core.plugins.transform import Transform

BASES: dict[str, type[Plugin]] = {
    "transforms": Transform,
    "defenses": Defense,
    "threats": Threat,
    "attacks": Attack,
    "datasets": Dataset,
    "backends": Backend,
}

__all__ = [
    "BASES",
    "Attack",
    "Backend",
    "Crew",
    "Dataset",
    "Defense",
    "Done",
    "InnerAdversary",
    "Kit",
    "Knowledge",
    "Leak",
    "Lost",
    "Plugin",
    "Split",
    "Storage",
    "Threat",
    "TrainingMeans",
    "Transform",
    "View",
    "Workshop",
]

"""Lists of robust ImageNet models: those of the installed robustbench and those of robustbench.yaml."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml
from torch import nn

from bench.core.errors import InputError, UnknownNameError
from bench.core.frozen import Frozen
from bench.core.names import suggestion
from bench.models.classifier import Classifier
from bench.models.convstem import ConvStem
from bench.models.zoo_import import import_robustbench

_WRAPPERS = ("module.", "model.")  # as robustbench.utils.load_model strips them


class Normalise(Frozen):
    """Mean and standard deviation of the pixels, per channel."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Listed(Frozen):
    """One model of robustbench.yaml; see the header of that file."""

    architecture: str
    stem: tuple[int, ...] | None
    normalise: Normalise | None
    preprocessing: str
    gdrive: str
    prefixes: tuple[str, ...]
    source: str

    def build(self) -> Classifier:
        """The model with random weights, 1000 classes, images in [0, 1]."""
        import timm  # noqa: PLC0415 (seconds to import)

        network: nn.Module = timm.create_model(self.architecture, pretrained=False, num_classes=1000)
        if self.stem is not None:
            network.stem = ConvStem(self.stem)
        pixels = self.normalise or Normalise(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
        return Classifier(network, pixels.mean, pixels.std)


@dataclass(frozen=True)
class ZooEntry:
    """One model from either list."""

    build: Callable[[], nn.Module]  # with random weights
    fetched: Callable[[], nn.Module] | None  # with weights that it downloads itself
    gdrive: str
    preprocessing: str
    prefixes: tuple[str, ...] = _WRAPPERS


def zoo_entry(name: str, threat: str) -> ZooEntry:
    """The entry of a model.

    Raises:
        UnknownNameError: if there is no such model.
    """
    if threat == "Linf" and name in _listed():
        entry = _listed()[name]
        return ZooEntry(entry.build, None, entry.gdrive, entry.preprocessing, entry.prefixes)
    zoo = _installed(threat)
    if name not in zoo:
        raise UnknownNameError(f"unknown RobustBench model {name!r}{suggestion(name, zoo_names(threat))}")
    build, drive = zoo[name]["model"], zoo[name].get("gdrive_id") or ""
    if isinstance(drive, list):
        raise InputError(f"RobustBench's {name} has {len(drive)} weight files; expected a model with one")
    # if it specifies nothing, RobustBench evaluates as timm does
    preprocessing = zoo[name].get("preprocessing", "timm-eval") or "none"
    return ZooEntry(_without_download(build), None if drive else build, drive, preprocessing)


def zoo_names(threat: str = "Linf") -> list[str]:
    """Names of the models that are robust to ``threat``, in RobustBench's terms: Linf, corruptions.

    Raises:
        InputError: if the threat is unknown, or robustbench cannot be imported.
    """
    return sorted({*_installed(threat), *(_listed() if threat == "Linf" else ())})


@functools.cache
def _listed() -> dict[str, Listed]:
    text = (resources.files("bench.models") / "robustbench.yaml").read_text(encoding="utf-8")
    return {name: Listed.model_validate(entry) for name, entry in yaml.safe_load(text).items()}


def _installed(threat: str) -> dict[str, dict[str, Any]]:
    """The zoo of the installed robustbench with its model metadata."""
    everything = import_robustbench("robustbench.model_zoo").model_dicts
    zoos = next(zoos for dataset, zoos in everything.items() if dataset.value == "imagenet")
    threats = {threat.value: zoo for threat, zoo in zoos.items()}
    if threat not in threats:
        raise UnknownNameError(f"RobustBench has no ImageNet models for {threat!r}{suggestion(threat, threats)}")
    return dict(threats[threat])


class _Fresh:
    """A module of model builders that never load pre-trained weights."""

    def __init__(self, module: types.ModuleType) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._module, name)
        if isinstance(value, types.ModuleType):
            return _Fresh(value)
        if not inspect.isfunction(value):
            return value
        return lambda *args, **options: value(*args, **{k: v for k, v in options.items() if k != "pretrained"})


def _without_download(build: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """The same builder with random weights from torchvision and timm; the original is unchanged."""
    if not isinstance(build, types.FunctionType):
        return build
    fresh = {
        name: _Fresh(value)
        for name, value in build.__globals__.items()
        if isinstance(value, types.ModuleType) and value.__name__.split(".")[0] in ("torchvision", "timm")
    }
    return types.FunctionType(
        build.__code__, {**build.__globals__, **fresh}, build.__name__, build.__defaults__, build.__closure__
    )

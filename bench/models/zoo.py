"""Robust ImageNet models of RobustBench's zoo: those of the installed robustbench and those of robustbench.yaml."""

from __future__ import annotations

import functools
import inspect
import os
import types
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch
import yaml
from platformdirs import user_cache_path
from torch import Tensor, nn

from bench.core.errors import InputError, UnknownNameError
from bench.core.frozen import Frozen
from bench.core.names import suggestion
from bench.models.checkpoint import check_file, fit_state, read_state
from bench.models.classifier import Classifier
from bench.models.convstem import ConvStem
from bench.models.pretrained import is_offline

_WRAPPERS = ("module.", "model.")  # as robustbench.utils.load_model strips them
_RESIDUE = ("normalize.", "normalizer.", "attacker.")  # from training wrappers, not from the networks
_PIXEL_MOMENTS = frozenset({"mean", "std", "mu", "sigma"})
_GIVE = "give --weights FILE or FOLDER"


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
class _Model:
    """One model from either list."""

    build: Callable[[], nn.Module]  # with random weights
    fetched: Callable[[], nn.Module] | None  # with weights that it downloads itself
    gdrive: str
    preprocessing: str
    prefixes: tuple[str, ...] = _WRAPPERS


def zoo_names(threat: str = "Linf") -> list[str]:
    """Names of the models that are robust to ``threat``, in RobustBench's terms: Linf, corruptions.

    Raises:
        InputError: if the threat is unknown, or robustbench cannot be imported.
    """
    return sorted({*_installed(threat), *(_listed() if threat == "Linf" else ())})


def zoo_preprocessing(name: str, threat: str = "Linf") -> str:
    """The preprocessing preset that RobustBench uses for the model; see bench.core.preprocessing.

    Raises:
        UnknownNameError: if there is no such model.
    """
    return _model(name, threat).preprocessing


def zoo_network(name: str, threat: str = "Linf") -> nn.Module:
    """The model with random weights: images (B, 3, H, W) in [0, 1] to logits (B, 1000). Nothing is downloaded.

    Raises:
        UnknownNameError: if there is no such model.
    """
    return _built(_model(name, threat).build)


def zoo_weights(name: str, *, threat: str = "Linf", weights: Path | None = None) -> Path | None:
    """The local file of the model's weights; None if there is none. For ``weights`` see zoo_model.

    Raises:
        InputError: if ``weights`` does not exist.
    """
    if weights is not None and not weights.exists():
        raise InputError(f"weights {weights} do not exist; expected a file or a folder with {name}.pt")
    if weights is not None and weights.is_file():
        return weights
    places = (_root(weights) / f"{name}.pt", _layout(name, threat, weights))
    return next((path for path in places if path.is_file()), None)


def zoo_model(
    name: str, *, threat: str = "Linf", weights: Path | None = None, offline: bool = False
) -> tuple[nn.Module, Path]:
    """The model with its weights, in evaluation mode, and the file that they were loaded from.

    Args:
        name: RobustBench's name.
        threat: The threat that it is robust to.
        weights: The file, or a folder with ``<name>.pt`` or ``imagenet/<threat>/<name>.pt``, into which a missing one
            is downloaded; None for the platform's cache folder.
        offline: Disable network access; so do HF_HUB_OFFLINE and BENCH_OFFLINE.

    Raises:
        UnknownNameError: if there is no such model.
        InputError: if no weights are found, the download fails, or the weights do not fit.
    """
    model = _model(name, threat)
    path = zoo_weights(name, threat=threat, weights=weights)
    if path is None:
        path = _download(name, threat, model, weights, is_offline(offline))
    network = _built(model.build)
    inner = network.network if isinstance(network, Classifier) else network
    state = _stripped(read_state(path), set(inner.state_dict()), model.prefixes)
    fit_state(inner, state, where=str(path), name=name)
    return network.eval(), path


@functools.cache
def _listed() -> dict[str, Listed]:
    text = (resources.files("bench.models") / "robustbench.yaml").read_text(encoding="utf-8")
    return {name: Listed.model_validate(entry) for name, entry in yaml.safe_load(text).items()}


def _installed(threat: str) -> dict[str, dict[str, Any]]:
    """The zoo of the installed robustbench with its model metadata."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it imports pkg_resources
            from robustbench.model_zoo import model_dicts  # noqa: PLC0415 (seconds to import)
    except ImportError as error:
        raise InputError(f"robustbench cannot be imported ({error}); expected robustbench 1.1: reinstall it") from error
    zoos = next(zoos for dataset, zoos in model_dicts.items() if dataset.value == "imagenet")
    threats = {threat.value: zoo for threat, zoo in zoos.items()}
    if threat not in threats:
        raise UnknownNameError(f"RobustBench has no ImageNet models for {threat!r}{suggestion(threat, threats)}")
    return dict(threats[threat])


def _model(name: str, threat: str) -> _Model:
    if threat == "Linf" and name in _listed():
        entry = _listed()[name]
        return _Model(entry.build, None, entry.gdrive, entry.preprocessing, entry.prefixes)
    zoo = _installed(threat)
    if name not in zoo:
        raise UnknownNameError(f"unknown RobustBench model {name!r}{suggestion(name, zoo_names(threat))}")
    build, drive = zoo[name]["model"], zoo[name].get("gdrive_id") or ""
    if isinstance(drive, list):
        raise InputError(f"RobustBench's {name} has {len(drive)} weight files; expected a model with one")
    # if it specifies nothing, RobustBench evaluates as timm does
    preprocessing = zoo[name].get("preprocessing", "timm-eval") or "none"
    return _Model(_without_download(build), None if drive else build, drive, preprocessing)


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


def _built(build: Callable[[], nn.Module]) -> nn.Module:
    """A model of one kind: normalisation and network of RobustBench's pair become a Classifier."""
    with torch.random.fork_rng(devices=[]):
        network = build()
    pair = dict(network.named_children())
    if list(pair) == ["normalize", "model"] and {"mean", "std"} <= set(dict(pair["normalize"].named_buffers())):
        moments = dict(pair["normalize"].named_buffers())
        mean, std = (tuple(moments[name].flatten().tolist()) for name in ("mean", "std"))
        network = Classifier(pair["model"], mean, std)
    return network.eval()


def _stripped(state: dict[str, Tensor], names: set[str], prefixes: tuple[str, ...]) -> dict[str, Tensor]:
    """The network's part of a file, under the network's names."""
    if names <= state.keys():
        return {name: tensor for name, tensor in state.items() if name in names or not _residual(name)}
    for prefix in prefixes:
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return {name: tensor for name, tensor in state.items() if name in names or not _residual(name)}


def _residual(name: str) -> bool:
    return name in _PIXEL_MOMENTS or name.startswith(_RESIDUE)


def _root(weights: Path | None) -> Path:
    return weights or user_cache_path("keybench") / "robustbench"


def _layout(name: str, threat: str, weights: Path | None) -> Path:
    return _root(weights) / "imagenet" / threat / f"{name}.pt"


def _download(name: str, threat: str, model: _Model, weights: Path | None, offline: bool) -> Path:
    """Download the weights into RobustBench's layout; an existing file is complete."""
    target = _layout(name, threat, weights)
    if offline:
        near = _root(weights) / target.name
        raise InputError(f"no weights of {name} at {near} or {target}, and the network is off; {_GIVE}")
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if model.fetched is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about a deprecated torchvision argument
                torch.save(_built(model.fetched).state_dict(), part)
        else:
            import gdown  # type: ignore[import-untyped] # noqa: PLC0415 (robustbench brings it)

            gdown.download(id=model.gdrive, output=str(part), quiet=True)
        check_file(part)
        part.replace(target)
    except Exception as error:  # third-party downloaders may raise anything
        reason = " ".join(str(error).replace(str(part), "what came").split())[:200] or type(error).__name__
        whence = f"Google Drive ({model.gdrive})" if model.gdrive else "RobustBench's source"
        raise InputError(f"cannot download {name} from {whence}: {reason}; put it at {target} or {_GIVE}") from error
    finally:
        part.unlink(missing_ok=True)
    return target

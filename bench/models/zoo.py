"""Robust ImageNet models of RobustBench's zoo, with their weights."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from platformdirs import user_cache_path
from torch import Tensor, nn

from bench.core.errors import InputError
from bench.core.extras import require
from bench.models.checkpoint import fit_state
from bench.models.classifier import Classifier
from bench.models.pretrained import is_offline
from bench.models.state_files import check_file, read_state
from bench.models.zoo_lists import ZooEntry, zoo_entry

_RESIDUE = ("normalize.", "normalizer.", "attacker.")  # from training wrappers, not from the networks
_PIXEL_MOMENTS = frozenset({"mean", "std", "mu", "sigma"})
_GIVE = "give --weights FILE or FOLDER"


def zoo_preprocessing(name: str, threat: str = "Linf") -> str:
    """The preprocessing preset that RobustBench uses for the model; see bench.core.preprocessing.

    Raises:
        UnknownNameError: if there is no such model.
    """
    return zoo_entry(name, threat).preprocessing


def zoo_network(name: str, threat: str = "Linf") -> nn.Module:
    """The model with random weights: images (B, 3, H, W) in [0, 1] to logits (B, 1000). Nothing is downloaded.

    Raises:
        UnknownNameError: if there is no such model.
    """
    return _built(zoo_entry(name, threat).build)


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
    model = zoo_entry(name, threat)
    path = zoo_weights(name, threat=threat, weights=weights)
    if path is None:
        path = _download(name, threat, model, weights, is_offline(offline))
    network = _built(model.build)
    inner = network.network if isinstance(network, Classifier) else network
    state = _stripped(read_state(path), set(inner.state_dict()), model.prefixes)
    fit_state(inner, state, where=str(path), name=name)
    return network.eval(), path


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


def _download(name: str, threat: str, model: ZooEntry, weights: Path | None, offline: bool) -> Path:
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
            require("gdown", "the download")
            import gdown  # type: ignore[import-untyped] # noqa: PLC0415 (an extra)

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

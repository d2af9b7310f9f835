"""The undefended models: trained locally on the profile's images, or loaded from pre-trained weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from bench.core.canonical import digest, sha256_of
from bench.core.errors import InputError
from bench.core.nouns import Trained
from bench.core.plugins import Split
from bench.core.profile import Base, Profile
from bench.engine.means import Means
from bench.models.checkpoint import load_state
from bench.models.classifier import Classifier, backbone, freeze
from bench.models.pretrained import find_weights
from bench.models.state_files import expect_digest
from bench.models.weights import load_weights, save_weights
from bench.store.models import ModelCache
from bench.training.fit import TRAINING_VERSION, fit, forget


def base_model(
    base: Base,
    profile: Profile,
    data: tuple[Split, str] | None,
    cache: ModelCache,
    means: Means,
    *,
    fits: Callable[[nn.Module], object] = lambda _network: None,
) -> Trained:
    """A base, frozen: images in [0, 1] to logits of the profile's classes.

    Args:
        base: The base to load or train.
        profile: Its profile.
        data: The training split with its digest, for a base that is trained locally.
        cache: Store of trained models.
        means: Device, weights.
        fits: Raises for a network that cannot be used later; called with a copy before a training starts.

    Raises:
        InputError: if weights are missing or do not fit.
    """
    if base.pretrained:
        network, found = _loaded(base, profile, means)
    else:
        network, found = backbone(base, profile.classes, base.seed), ""
    folder = None
    if base.recipe is not None and data is not None:
        folder, found = _trained(base, network, found, profile, data, cache, means, fits)
        load_weights(network, folder)
    model = freeze(Classifier(network, base.mean, base.std)).to(means.device)
    return Trained(model, found, f"pre-trained model {base.name}", folder)


def check_may_train(what: str, profile: Profile, means: Means) -> None:
    """Refuse to start a long training inside an evaluation.

    Raises:
        InputError: if the profile trains for hours and training was not requested.
    """
    if not (profile.train_on_demand or means.train):
        raise InputError(f"{what}: no trained model is kept, and profile {profile.name} trains for hours; expected "
                         "`bench train` with the same flags first, or --train to do it now")  # fmt: skip


def weights_file(base: Base, means: Means, *, offline: bool = False) -> Path:
    """The file of a base's pre-trained weights.

    Raises:
        InputError: if it is not at the given path, or not available from the hub.
    """
    return find_weights(base.name, means.weights, offline=offline or means.offline)


def _loaded(base: Base, profile: Profile, means: Means) -> tuple[nn.Module, str]:
    path = weights_file(base, means)
    got = expect_digest(path, base.sha256) if base.sha256 else sha256_of(path)
    network = backbone(base, base.classes or profile.classes, base.seed)
    load_state(network, path, name=base.name)
    if base.classes not in (None, profile.classes):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(base.seed)
            network.reset_classifier(profile.classes)  # type: ignore[operator]
    about = base.model_dump(mode="json", exclude={"sha256"})
    return network, digest({"kind": "pretrained", "base": about, "classes": profile.classes, "weights": got})


def _trained(
    base: Base,
    start: nn.Module,
    started: str,
    profile: Profile,
    data: tuple[Split, str],
    cache: ModelCache,
    means: Means,
    fits: Callable[[nn.Module], object],
) -> tuple[Path, str]:
    recipe = base.recipe
    if recipe is None:
        raise ValueError(f"base {base.name} has no recipe")
    made_from = {
        "kind": "base",
        "base": base.model_dump(mode="json"),
        "classes": profile.classes,
        "data": data[1],
        "start": started,
        "training_version": TRAINING_VERSION,
    }
    own = replace(means.training, workspace=cache.workspace(made_from))

    def pretrain(folder: Path) -> None:
        check_may_train("the base", profile, means)
        fits(copy.deepcopy(start))
        model = Classifier(start, base.mean, base.std).requires_grad_(True).to(means.device)
        fit(model, data[0], recipe, seed=base.seed, means=own, title="pre-train the base")
        save_weights(model.network, folder)

    folder, found = cache.fetch(made_from, pretrain)
    forget(own)
    return folder, found

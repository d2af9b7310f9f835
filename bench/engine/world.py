"""What a Spec stands for, made when it is first needed: data, base, deployment, the adversary's view of it."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from torch import nn

from bench.core.canonical import sha256_of
from bench.core.errors import InputError, KnowledgeError
from bench.core.key import Key
from bench.core.nouns import Trained
from bench.core.plugins import Dataset, Defense, Kit, Knowledge, Split, Storage, ThreatModel
from bench.core.profile import Base
from bench.core.registry import registry
from bench.core.seeds import seed_of
from bench.core.spec import Spec
from bench.engine.bases import base_model, check_may_train
from bench.engine.means import Means
from bench.store.models import ModelCache
from bench.training.fit import forget
from bench.training.processes import leads, meet


class World:
    """The deployment of a Spec and everything around it that an adversary may come to hold.

    Args:
        spec: What to evaluate.
        key: The defender's key; None for a defense without one.
        means: Device, folders, who is told.
    """

    def __init__(self, spec: Spec, key: Key | None, means: Means) -> None:
        self.spec, self._key, self.means, self.device = spec, key, means, means.device
        self._cache = ModelCache(means.home.models, rebuild=means.rebuild, leads=leads(), meet=meet)
        self.notes: list[str] = []  # what a reader of a record must know of the models
        self._training = replace(means.training, device=means.device, progress=means.progress)
        self.defense: Defense = registry("defenses").make(spec.defense.name, spec.defense.options)

    @cached_property
    def train_split(self) -> Split:
        """The only images that any model is fitted to."""
        return self._split("train")

    @cached_property
    def test_split(self) -> Split:
        """The images that are judged, and others."""
        return self._split("test")

    @cached_property
    def base(self) -> Trained:
        """The undefended pre-trained model."""
        return self._base(self.spec.profile.base)

    @cached_property
    def start(self) -> Trained:
        """What fine-tuning starts from."""
        start = self.spec.profile.start
        return self._base(start) if start else self.base

    @cached_property
    def target(self) -> Trained:
        """What the defender shipped."""
        return self._defended(self._key, seed_of(self.spec.seed, "defender"), "target")

    def substitute(self, guess: int) -> Trained:
        """A model made by the adversary as the defender makes them, with a key of the adversary's own."""
        key = Key.from_seed(self.spec.seed, "adversary", guess) if self.defense.keyed else None
        return self._defended(key, seed_of(self.spec.seed, "adversary", guess), f"substitute {guess}")

    def sibling(self, index: int) -> Trained:
        """Another device of the same maker.

        Raises:
            InputError: the defense has no key, so all its devices are the same model.
        """
        if not self.defense.keyed:
            raise InputError(f"{self.spec.defense.name} has no key, so no siblings; expected a keyed defense")
        key = Key.from_seed(self.spec.seed, "sibling", index)
        return self._defended(key, seed_of(self.spec.seed, "sibling", index), f"sibling {index}")

    def _split(self, name: str) -> Split:
        profile, means = self.spec.profile, self.means
        dataset: Dataset = registry("datasets").make(profile.dataset)
        storage = Storage(means.data, profile.image_shape, profile.preprocessing, means.workers, means.home.indexes)
        split = dataset.split(name, storage)
        classes = max(split.labels) + 1
        if classes > profile.classes:
            raise InputError(f"the data has {classes} classes, profile {profile.name} tells {profile.classes} apart; "
                             f"give --set profile.classes={classes}")  # fmt: skip
        return split

    def _base(self, base: Base) -> Trained:
        data = self.train_split if base.recipe else None
        means = replace(self.means, training=self._training)
        return base_model(base, self.spec.profile, data, self._cache, means)

    def _defended(self, key: Key | None, seed: int, note: str) -> Trained:
        recipe = self.defense.recipe(self.spec.profile)
        if not recipe:
            return self.base
        ready = getattr(self.defense, "ready", False)
        made_from = self._ready_from(recipe) if ready else self._tuned_from(recipe, key, seed)
        try:
            made_from.update(self._weights() if ready else {"data": self.train_split.digest()})
        except InputError as why:
            folder, digest = self._kept(made_from, note, why)
        else:
            folder, digest = self._cache.fetch(made_from, lambda part: self._make(made_from, key, seed, note, part))
            forget(self._kit(key, seed, made_from).training)
        return Trained(self.defense.load(self._kit(key, seed, made_from), folder), digest, note, folder)

    def _ready_from(self, recipe: dict[str, Any]) -> dict[str, Any]:
        """The make of a model that comes with its own weights."""
        return {"kind": "ready", "defense": self.spec.defense.model_dump(mode="json"), "recipe": recipe}

    def _weights(self) -> dict[str, Any]:
        """The digest of its file.

        Raises:
            InputError: no file is at hand, and one that was taken over earlier may be.
        """
        path: Path | None = self.defense.weights_file(self.means.weights)  # type: ignore[attr-defined]
        if path is None and self._cache.like(self._ready_from(self.defense.recipe(self.spec.profile))):
            raise InputError(f"{self.spec.defense.name}: the file of the weights is not at hand")
        return {"weights": sha256_of(path) if path else None}

    def _tuned_from(self, recipe: dict[str, Any], key: Key | None, seed: int) -> dict[str, Any]:
        """The make of a fine-tuned model, but for the images that it is trained on."""
        return {
            "kind": "defended",
            "defense": self.spec.defense.model_dump(mode="json"),
            "recipe": recipe,
            "start": self.start.digest,
            "key": key.fingerprint if key else None,
            "seed": seed,
        }

    def _kept(self, made_from: dict[str, Any], note: str, why: InputError) -> tuple[Path, str]:
        """A model that was trained earlier, found without the images that it was trained on."""
        found = self._cache.like(made_from)
        if found is None:
            raise InputError(f"{note}: no trained model is kept, and there is nothing to train it on: {why}") from None
        self.notes.append(f"{note}: the kept model {found[0].name[:12]}, taken without what it was made from ({why})")
        return found

    def _make(self, made_from: dict[str, Any], key: Key | None, seed: int, note: str, part: Path) -> None:
        if not getattr(self.defense, "ready", False):
            check_may_train(note, self.spec.profile, self.means)
        self.defense.train(self._kit(key, seed, made_from), part)

    def _kit(self, key: Key | None, seed: int, made_from: dict[str, Any]) -> Kit:
        training = replace(self._training, workspace=self._cache.workspace(made_from))
        return Kit(
            start=lambda: _fresh(self.start),
            weights=self.means.weights,
            offline=self.means.offline,
            key=key,
            data=lambda: self.train_split,
            profile=self.spec.profile,
            seed=seed,
            training=training,
        )


class DeclaredView:
    """The world through what a threat model declared to know, and no more."""

    def __init__(self, world: World, threat: ThreatModel) -> None:
        self._world, self._knows, self._name = world, threat.knows, type(threat).__name__

    def base(self) -> Trained:
        """The undefended pre-trained model."""
        self._need(Knowledge.PRETRAINED)
        return self._world.base

    def substitute(self, guess: int = 0) -> Trained:
        """A model made with the adversary's own key."""
        self._need(Knowledge.MECHANISM)
        return self._world.substitute(guess)

    def sibling(self, index: int = 0) -> Trained:
        """Another device, its key known."""
        self._need(Knowledge.SIBLING)
        return self._world.sibling(index)

    def target(self) -> Trained:
        """The deployed model."""
        self._need(Knowledge.TARGET)
        return self._world.target

    def _need(self, what: Knowledge) -> None:
        if what not in self._knows:
            raise KnowledgeError(f"threat {self._name} reached for {what.value}, which it does not declare in `knows`")


def _fresh(trained: Trained) -> nn.Module:
    return copy.deepcopy(cast("nn.Module", trained.model)).requires_grad_(True)

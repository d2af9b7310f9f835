"""What a Spec stands for, made when it is first needed: data, base, deployment, the adversary's view of it."""

from __future__ import annotations

import copy
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from torch import nn

from bench.core.errors import InputError, KnowledgeError
from bench.core.key import Key
from bench.core.nouns import Trained
from bench.core.plugins import Dataset, Defense, Kit, Knowledge, Split, ThreatModel
from bench.core.progress import Progress
from bench.core.registry import registry
from bench.core.seeds import seed_of
from bench.core.spec import Spec
from bench.models.classifier import Classifier, backbone, freeze
from bench.models.weights import load_weights, save_weights
from bench.store.models import ModelCache
from bench.training.fit import TRAINING_VERSION, fit


class World:
    """The deployment of a Spec and everything around it that an adversary may come to hold.

    Args:
        spec: What to evaluate.
        key: The defender's key; None for a defense without one.
        cache: Where trained models are kept.
        device: Where models live, ``cpu`` or ``cuda``.
        progress: Told what is being trained.
    """

    def __init__(self, spec: Spec, key: Key | None, cache: ModelCache, device: str, progress: Progress) -> None:
        self.spec, self._key, self._cache, self.device, self._progress = spec, key, cache, device, progress
        self.defense: Defense = registry("defenses").make(spec.defense.name, spec.defense.options)

    @cached_property
    def _dataset(self) -> Dataset:
        dataset: Dataset = registry("datasets").make(self.spec.profile.dataset)
        return dataset

    @cached_property
    def train_split(self) -> Split:
        """The only images that any model is fitted to."""
        return self._dataset.split("train")

    @cached_property
    def test_split(self) -> Split:
        """The images that are judged."""
        return self._dataset.split("test")

    @cached_property
    def base(self) -> Trained:
        """The undefended pre-trained model, trained on first use."""
        base = self.spec.profile.base
        made_from = {
            "kind": "base",
            "base": base.model_dump(mode="json"),
            "classes": self.spec.profile.classes,
            "data": self.train_split.digest(),
            "training_version": TRAINING_VERSION,
        }
        folder, digest = self._cache.fetch(made_from, self._pretrain)
        network = load_weights(self._untrained().network, folder)
        return Trained(self._ready(network), digest, "pre-trained model")

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

    def _defended(self, key: Key | None, seed: int, note: str) -> Trained:
        spec, recipe = self.spec, self.defense.recipe(self.spec.profile)
        if not recipe:
            return Trained(self.base.model, self.base.digest, "pre-trained model")
        made_from: dict[str, Any] = {
            "kind": "defended",
            "defense": spec.defense.model_dump(mode="json"),
            "recipe": recipe,
            "base": self.base.digest,
            "data": self.train_split.digest(),
            "key": key.fingerprint if key else None,
            "seed": seed,
        }
        kit = Kit(self._fresh_base, key, lambda: self.train_split, spec.profile, seed, self.device, self._progress)
        folder, digest = self._cache.fetch(made_from, lambda part: self.defense.train(kit, part))
        return Trained(self.defense.load(kit, folder), digest, note)

    def _pretrain(self, folder: Path) -> None:
        model = self._untrained().to(self.device)
        base = self.spec.profile.base
        fit(model, self.train_split, base.recipe, seed=base.seed, device=self.device, progress=self._progress,
            title="pre-train the base")  # fmt: skip
        save_weights(model.network, folder)

    def _untrained(self) -> Classifier:
        base = self.spec.profile.base
        return Classifier(backbone(base, self.spec.profile.classes, base.seed), base.mean, base.std)

    def _ready(self, network: nn.Module) -> nn.Module:
        base = self.spec.profile.base
        return freeze(Classifier(network, base.mean, base.std)).to(self.device)

    def _fresh_base(self) -> nn.Module:
        return copy.deepcopy(cast("nn.Module", self.base.model)).requires_grad_(True)


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

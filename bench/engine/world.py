"""What a Spec stands for, made when it is first needed: data, base, deployment, the adversary's view of it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from torch import nn

from bench.core.canonical import sha256_of
from bench.core.errors import InputError, NotApplicableError
from bench.core.key import Key
from bench.core.nouns import Trained
from bench.core.plugins import Dataset, Defense, Kit, Leak, Split, Storage, Workshop
from bench.core.profile import Base
from bench.core.registry import registry
from bench.core.seeds import seed_of
from bench.core.spec import Spec
from bench.engine.bases import base_model, check_may_train
from bench.engine.means import Means
from bench.store.models import ModelCache
from bench.training.fit import forget
from bench.training.processes import leads, meet, together


@dataclass(frozen=True)
class Holder:
    """For whom a model is made: the seed of its making, what to call it, its key, or only the key's fingerprint."""

    seed: int
    note: str
    key: Key | None = None
    fingerprint: str | None = None


class World:
    """The deployment of a Spec and everything around it that an adversary may come to hold.

    Args:
        spec: What to evaluate.
        key: The defender's key; None for a defense without one.
        means: Device, folders, who is told.
    """

    def __init__(self, spec: Spec, key: Key | None, means: Means) -> None:
        self.spec, self._key, self.means, self.device = spec, key, means, means.device
        self._cache = ModelCache(
            means.home.models, rebuild=means.rebuild, leads=leads(), meet=meet, together=together()
        )
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
        """What the defender shipped, on the device that is judged."""
        return self._defended(self._holder(self.spec.device))

    def sibling(self, index: int) -> Trained:
        """Device number ``index`` of the maker; the named key is number 0's.

        Raises:
            InputError: the defense has no key, so all its devices are the same model.
        """
        if not self.defense.keyed:
            raise NotApplicableError(f"{self.spec.defense.name} has no key, so no siblings; expected a keyed defense")
        return self.target if index == self.spec.device else self._defended(self._holder(index))

    def substitute(self, guess: int) -> Trained:
        """A model made by the adversary as the defender makes them, with a key of the adversary's own."""
        key = Key.from_seed(self.spec.seed, "adversary", guess) if self.defense.keyed else None
        return self._defended(Holder(seed_of(self.spec.seed, "adversary", guess), f"substitute {guess}", key))

    def key_free(self, draw: int) -> Trained:
        """A model made by the adversary as the defender makes them, but on plain images.

        Raises:
            InputError: the defense cannot be made without a key.
        """
        if not self.defense.keyed:
            return self.substitute(draw)
        if not getattr(self.defense, "key_free", False):
            raise NotApplicableError(f"{self.spec.defense.name} cannot be made without a key; expected another threat")
        return self._defended(Holder(seed_of(self.spec.seed, "key-free", draw), f"key-free substitute {draw}"))

    def leaked(self) -> Leak:
        """The target's files, read without its key.

        Raises:
            InputError: the defense does not keep a key apart from its weights.
        """
        if not hasattr(self.defense, "leak"):
            raise NotApplicableError(f"{self.spec.defense.name} keeps no key apart from its weights; expected a keyed "
                                     "defense that says what leaks (`leak`)")  # fmt: skip
        holder = self._holder(self.spec.device)
        made_from, folder, digest = self._files(holder)
        model = self.defense.leak(self._kit(replace(holder, key=None), made_from), folder)
        return Leak(model, digest, self.spec.defense.options)

    def workshop(self) -> Workshop:
        """With what an adversary makes a model that is not the defender's."""
        about = {"base": self.base.digest, "seed": self.spec.seed}

        def keep(made_from: dict[str, Any], build: Callable[[Path], None]) -> tuple[Path, str]:
            made_from = {"kind": "adversary", **about, "data": self.train_split.digest(), **made_from}

            def checked(part: Path) -> None:
                check_may_train("the adversary's model", self.spec.profile, self.means)
                build(part)

            return self._cache.fetch(made_from, checked)

        return Workshop(
            start=lambda: _fresh(self.base),
            data=lambda: self.train_split,
            profile=self.spec.profile,
            seed=seed_of(self.spec.seed, "workshop"),
            training=self._training,
            keep=keep,
        )

    def _holder(self, device: int) -> Holder:
        """Who holds a device: number 0 has the key that the Spec names, the others one of their own."""
        if device == 0:
            named = self.spec.key
            return Holder(
                seed_of(self.spec.seed, "defender"), "target", self._key, named.fingerprint if named else None
            )
        seed = seed_of(self.spec.seed, "sibling", device - 1)
        return Holder(seed, f"device {device}", Key.from_seed(self.spec.seed, "sibling", device - 1))

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

    def _defended(self, holder: Holder) -> Trained:
        if not self.defense.recipe(self.spec.profile):
            return self.base
        made_from, folder, digest = self._files(holder)
        return Trained(self.defense.load(self._kit(holder, made_from), folder), digest, holder.note, folder)

    def _files(self, holder: Holder) -> tuple[dict[str, Any], Path, str]:
        """What a model is made from, its folder and its digest; it is made where it is not kept."""
        recipe = self.defense.recipe(self.spec.profile)
        ready = getattr(self.defense, "ready", False)
        made_from = self._ready_from(recipe) if ready else self._tuned_from(recipe, holder)
        try:
            made_from.update(self._weights() if ready else {"data": self.train_split.digest()})
        except InputError as why:
            return made_from, *self._kept(made_from, holder.note, why)
        folder, digest = self._cache.fetch(made_from, lambda part: self._make(made_from, holder, part))
        forget(self._kit(holder, made_from).training)
        return made_from, folder, digest

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

    def _tuned_from(self, recipe: dict[str, Any], holder: Holder) -> dict[str, Any]:
        """The make of a fine-tuned model, but for the images that it is trained on."""
        return {
            "kind": "defended",
            "defense": self.spec.defense.model_dump(mode="json"),
            "recipe": recipe,
            "start": self.start.digest,
            "key": holder.key.fingerprint if holder.key else holder.fingerprint,
            "seed": holder.seed,
        }

    def _kept(self, made_from: dict[str, Any], note: str, why: InputError) -> tuple[Path, str]:
        """A model that was trained earlier, found without the images that it was trained on."""
        found = self._cache.like(made_from)
        if found is None:
            raise InputError(f"{note}: no trained model is kept, and there is nothing to train it on: {why}") from None
        self.notes.append(f"{note}: the kept model {found[0].name[:12]}, taken without what it was made from ({why})")
        return found

    def _make(self, made_from: dict[str, Any], holder: Holder, part: Path) -> None:
        if not getattr(self.defense, "ready", False):
            check_may_train(holder.note, self.spec.profile, self.means)
        if made_from.get("key") and holder.key is None:
            raise InputError(f"{holder.note}: no trained model is kept, and the key to train it with is not at hand")
        self.defense.train(self._kit(holder, made_from), part)

    def _kit(self, holder: Holder, made_from: dict[str, Any]) -> Kit:
        training = replace(self._training, workspace=self._cache.workspace(made_from))
        return Kit(
            start=lambda: _fresh(self.start),
            weights=self.means.weights,
            offline=self.means.offline,
            key=holder.key,
            data=lambda: self.train_split,
            profile=self.spec.profile,
            seed=holder.seed,
            training=training,
        )


def _fresh(trained: Trained) -> nn.Module:
    return copy.deepcopy(cast("nn.Module", trained.model)).requires_grad_(True)

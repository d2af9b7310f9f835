"""The maker of an evaluation: data and models, loaded from the store or created."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from torch import nn

from bench.core.canonical import sha256_of
from bench.core.devices import check_device
from bench.core.errors import InputError
from bench.core.nouns import Trained
from bench.core.plugins import Kit, Leak, Split, Workshop
from bench.core.profile import Base
from bench.core.seeds import seed_of
from bench.core.spec import Spec
from bench.engine.bases import base_model, check_may_train
from bench.engine.holders import Holder
from bench.engine.images_here import digest_of, open_split
from bench.engine.means import Means
from bench.engine.world import Maker
from bench.models.standalone import Makeup
from bench.store.models import ModelCache
from bench.training.fit import forget
from bench.training.processes import leads, meet, together


class Making(Maker):
    """Creates or loads everything that a World needs.

    Args:
        spec: What to evaluate.
        means: Device, folders, progress.
        cache: The store of trained models; None for the one in the home folder.
    """

    def __init__(self, spec: Spec, means: Means, cache: ModelCache | None = None) -> None:
        super().__init__(spec)
        self.means, self.device = means, means.device
        self._cache = cache or ModelCache(
            means.home.models,
            rebuild=means.rebuild,
            leads=leads(),
            meet=meet,
            together=together(),
            waiting=lambda holder: means.progress.note(f"waiting for a model that {holder} makes"),
        )
        self._training = replace(means.training, device=means.device, progress=means.progress)
        self._splits: dict[str, Split] = {}

    def split(self, name: str) -> Split:
        """A split of the profile's data set, opened once.

        Raises:
            InputError: if it cannot be read, or has more classes than the profile.
        """
        if name not in self._splits:
            self._splits[name] = open_split(self.spec.profile, name, self.means)
        return self._splits[name]

    @cached_property
    def trained_on(self) -> str:
        """SHA-256 of the training images: ids, labels and contents."""
        return digest_of(self.split("train"), self.spec.profile, None, self.means)

    def pretrained(self, base: Base) -> Trained:
        """An undefended model, on the device.

        Raises:
            InputError: if weights or images are missing, or do not fit; or the device is not available.
        """
        check_device(self.device)
        data = (self.split("train"), self.trained_on) if base.recipe else None
        means = replace(self.means, training=self._training)
        return base_model(base, self.spec.profile, data, self._cache, means, fits=self._tunable(base))

    def defended(self, holder: Holder) -> Trained:
        """The model of a holder, trained if it is not stored.

        Raises:
            InputError: if it is not stored, and the key or the training images are missing; or the device is not
                available.
        """
        check_device(self.device)
        made_from, folder, digest = self._files(holder)
        return Trained(self.defense.load(self._kit(holder, made_from), folder), digest, holder.note, folder)

    def parts(self, holder: Holder) -> Makeup:
        """What another process makes the model of a holder from: its files, the start, the key."""
        if not self.defense.recipe(self.spec.profile):
            return Makeup(self.device, cast("nn.Module", self.base.model))
        _, folder, _ = self._files(holder)
        return Makeup(
            self.device,
            None if self.defense.ready else cast("nn.Module", self.start.model),
            folder,
            self.spec.defense.name,
            self.spec.defense.options,
            self.spec.profile,
            holder.seed,
            self.means.weights,
            self.means.offline,
            holder.key.reveal() if holder.key else None,
        )

    def leaked(self, holder: Holder) -> Leak:
        """The files of a holder's model, created if they are not stored, and read without the key."""
        made_from, folder, digest = self._files(holder)
        kit = self._kit(holder.leaked(), made_from)
        return Leak(self.defense.leak(kit, folder), digest, self.spec.defense.options)

    def workshop(self) -> Workshop:
        """Tools for an adversary to train a model that is not the defender's."""
        about = {"base": self.base.digest, "seed": self.spec.seed}
        if self.spec.threat.code:
            about["threat"] = self.spec.threat.code

        def keep(made_from: dict[str, Any], build: Callable[[Path], None]) -> tuple[Path, str]:
            made_from = {"kind": "adversary", **about, "data": self.trained_on, **made_from}

            def checked(part: Path) -> None:
                check_may_train("the adversary's model", self.spec.profile, self.means)
                build(part)

            return self._cache.fetch(made_from, checked)

        return Workshop(
            start=lambda: _fresh(self.base),
            data=lambda: self.split("train"),
            profile=self.spec.profile,
            seed=seed_of(self.spec.seed, "workshop"),
            training=self._training,
            keep=keep,
        )

    def _tunable(self, base: Base) -> Callable[[nn.Module], object]:
        """Refuses a base that the defense cannot fine-tune, before the base is trained."""
        profile, defense = self.spec.profile, self.defense
        if defense.tuning is None or base != (profile.start or profile.base):
            return lambda _network: None
        return lambda network: defense.trainable(network, self.spec.seed)

    def _files(self, holder: Holder) -> tuple[dict[str, Any], Path, str]:
        """A model's inputs, folder and digest; it is created if it is not stored."""
        recipe = self.defense.recipe(self.spec.profile)
        ready = self.defense.ready
        made_from = self._ready_from(recipe) if ready else self._tuned_from(recipe, holder)
        try:
            made_from.update(self._weights() if ready else {"data": self.trained_on})
        except InputError as why:
            return made_from, *self._kept(made_from, holder.note, why)
        folder, digest = self._cache.fetch(made_from, lambda part: self._make(made_from, holder, part))
        forget(self._kit(holder, made_from).training)
        return made_from, folder, digest

    def _ready_from(self, recipe: dict[str, Any]) -> dict[str, Any]:
        """The inputs of a model with its own weights, without the digest of its file."""
        return {"kind": "ready", "defense": self.spec.defense.model_dump(mode="json"), "recipe": recipe}

    def _weights(self) -> dict[str, Any]:
        """The digest of its file.

        Raises:
            InputError: if there is no local file, although one may have been copied earlier.
        """
        path = self.defense.weights_file(self.means.weights)
        if path is None and self._cache.like(self._ready_from(self.defense.recipe(self.spec.profile))):
            raise InputError(f"{self.spec.defense.name}: the weights file is not available")
        return {"weights": sha256_of(path) if path else None}

    def _tuned_from(self, recipe: dict[str, Any], holder: Holder) -> dict[str, Any]:
        """The inputs of a fine-tuned model, without its training images."""
        return {
            "kind": "defended",
            "defense": self.spec.defense.model_dump(mode="json"),
            "recipe": recipe,
            "start": self.start.digest,
            "key": holder.fingerprint,
            "seed": holder.seed,
        }

    def _kept(self, made_from: dict[str, Any], note: str, why: InputError) -> tuple[Path, str]:
        """A model trained earlier, found without its training images."""
        found = self._cache.like(made_from)
        if found is None:
            raise InputError(f"{note}: no trained model is kept, and there is nothing to train it on: {why}") from None
        self.notes.append(f"{note}: used the stored model {found[0].name[:12]} without its training inputs ({why})")
        return found

    def _make(self, made_from: dict[str, Any], holder: Holder, part: Path) -> None:
        if not self.defense.ready:
            check_may_train(holder.note, self.spec.profile, self.means)
        if made_from.get("key") and holder.key is None:
            raise InputError(f"{holder.note}: no trained model is kept, and the key to train it with is not available")
        self.defense.train(self._kit(holder, made_from), part)

    def _kit(self, holder: Holder, made_from: dict[str, Any]) -> Kit:
        return Kit(
            start=lambda: _fresh(self.start),
            weights=self.means.weights,
            offline=self.means.offline,
            key=holder.key,
            data=lambda: self.split("train"),
            profile=self.spec.profile,
            seed=holder.seed,
            training=replace(self._training, workspace=self._cache.workspace(made_from)),
            permuted=holder.permuted,
        )


def _fresh(trained: Trained) -> nn.Module:
    return copy.deepcopy(cast("nn.Module", trained.model)).requires_grad_(True)

"""Common base of all key-based defenses: images pass through a keyed transform before the network."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field
from torch import nn

from bench.core.binding import bind_transforms
from bench.core.errors import BenchError
from bench.core.key import Key
from bench.core.plugins import Defense, Kit
from bench.core.profile import Profile, Recipe
from bench.core.seeds import seed_of
from bench.models.classifier import Classifier, freeze
from bench.models.parts import permute_inputs
from bench.training.fit import TRAINING_VERSION, fit


class KeyedDefense(Defense, adds=("tuned", "classifier", "save", "restore")):
    """A network fine-tuned on t(x, K); subclasses define the trainable weights and their storage."""

    keyed = True
    key_free = (
        True  # without a key: plain images, from the start as it is or with the inputs of its first layer permuted
    )
    tuning: ClassVar[str]  # of the subclass

    transform: str = Field("pixel-shuffle", description="key transform, or several joined by +")
    block_size: int = Field(4, ge=1, description="P, in pixels")

    def check(self, profile: Profile) -> None:
        """Refuse an unknown transform or a block size that does not divide the image."""
        self.bind(Key.from_seed(0, "check"), profile)
        self._recipe(profile)

    def recipe(self, profile: Profile) -> dict[str, Any]:
        """The profile's recipe for this kind of tuning."""
        return {"training_version": TRAINING_VERSION, **self._recipe(profile).model_dump(mode="json")}

    def train(self, kit: Kit, folder: Path) -> None:
        """Fine-tune the starting model on keyed training images and save the changed weights."""
        self.save(self.tuned(kit, 0).network, folder)

    def tuned(self, kit: Kit, index: int) -> Classifier:
        """A fine-tuned classifier under the kit's key number ``index``, on the device."""
        model = self.classifier(kit, index)
        model.network = self.trainable(model.network, seed_of(kit.seed, "init", index))
        model.to(kit.training.device)
        means = kit.training
        if index and means.workspace:
            means = replace(means, workspace=means.workspace / str(index))
        fit(
            model,
            kit.data(),
            self._recipe(kit.profile),
            seed=seed_of(kit.seed, "fit", index),
            means=means,
            title=f"fine-tune ({self.tuning}{f', key {index}' if index else ''})",
        )
        return model

    def load(self, kit: Kit, folder: Path) -> nn.Module:
        """The defended model, frozen, with the key bound."""
        model = self.classifier(kit, 0)
        model.network = self.restore(model.network, folder)
        return freeze(model).to(kit.training.device)

    def leak(self, kit: Kit, folder: Path) -> nn.Module:
        """The network of the files in ``folder`` without a transform: what is stored, without the key."""
        start = kit.start()
        if not isinstance(start, Classifier):
            raise BenchError("a keyed defense needs a classifier to start from")
        start.network = self.restore(start.network, folder)
        return freeze(start).to(kit.training.device)

    def bind(self, key: Key, profile: Profile) -> nn.Module:
        """t(., K) of the options' transforms."""
        return bind_transforms(self.transform, key, block_size=self.block_size, image_shape=profile.image_shape)

    @abstractmethod
    def trainable(self, network: nn.Module, seed: int) -> nn.Module:
        """``network`` with gradients enabled for the trainable weights."""

    @abstractmethod
    def save(self, network: nn.Module, folder: Path) -> None:
        """Write the trained weights."""

    @abstractmethod
    def restore(self, network: nn.Module, folder: Path) -> nn.Module:
        """The trained network from a fresh base and the files of :meth:`save`."""

    def _recipe(self, profile: Profile) -> Recipe:
        if self.tuning not in profile.recipes:
            raise BenchError(f"profile {profile.name} has no recipe {self.tuning!r}; expected one under recipes:")
        return profile.recipes[self.tuning]

    def classifier(self, kit: Kit, index: int) -> Classifier:
        """The starting model of fine-tuning, behind t(., K) of the kit's key number ``index``.

        Without a key: the starting model as it is or, if the kit says so, with its first layer's inputs permuted at
        random inside blocks. Where the network sees whole blocks, such a permutation is all that a key of the block
        shuffle determines at the start of fine-tuning (docs/equivalence.md).
        """
        start = kit.start()
        if not isinstance(start, Classifier):
            raise BenchError("a keyed defense needs a classifier to start from")
        if kit.key is None and kit.permuted:
            permute_inputs(start.network, self.block_size, seed_of(kit.seed, "inputs", index))
        if kit.key is not None:
            start.transform = self.bind(kit.key.child(index), kit.profile).to(kit.training.device)
        return start

"""Adversarial training: a defense without a key, trained to be robust."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, field_validator
from torch import nn

from bench.core.budget import Budget, Norm, parse_eps
from bench.core.errors import BenchError, InputError
from bench.core.plugins import Defense, Kit
from bench.core.profile import Profile, Recipe
from bench.core.seeds import seed_of
from bench.models.classifier import Classifier, freeze
from bench.models.weights import load_weights, save_weights
from bench.training.fit import TRAINING_VERSION, fit
from bench.training.harden import Hardening


class Adversarial(Defense):
    """Adversarially trained by PGD in every training step, no key (arXiv 1706.06083)."""

    tuning = "adversarial"  # names the recipe in the profile

    norm: Norm = Field(Norm.LINF, description="of the ball that is trained on")
    eps: str | None = Field(None, description="its radius on the [0, 1] pixel scale; null: the profile's for the norm")
    # Seven steps of a quarter of eps: Madry et al. on CIFAR-10 (2/255 of 8/255).
    steps: int = Field(7, ge=1, description="gradients of the adversary in each training step")
    relative_step: float = Field(0.25, gt=0, description="length of one of them, as a share of eps")

    @field_validator("eps", mode="before")
    @classmethod
    def _as_written(cls, value: Any) -> Any:
        """Convert a number to text, because YAML parses 0.1 as a number."""
        return str(value) if isinstance(value, int | float) else value

    def check(self, profile: Profile) -> None:
        """Refuse a profile without such a recipe, and a ball of radius 0."""
        self._recipe(profile)
        if not self.hardening(profile).budget.eps:
            raise InputError("defense.eps is 0, so nothing is trained against; expected more, or defense plain")

    def recipe(self, profile: Profile) -> dict[str, Any]:
        """The profile's recipe for adversarial training, and the ball."""
        recipe = self._recipe(profile).model_dump(mode="json")
        return {"training_version": TRAINING_VERSION, **recipe, "budget": str(self.hardening(profile).budget)}

    def hardening(self, profile: Profile) -> Hardening:
        """The adversary inside the training.

        Raises:
            InputError: if eps is not a valid radius, or the profile has none for the norm.
        """
        budget = profile.budget(self.norm) if self.eps is None else Budget(self.norm, parse_eps(self.eps))
        return Hardening(budget, self.steps, self.relative_step)

    def trainable(self, network: nn.Module, seed: int) -> nn.Module:
        """Every weight."""
        return network.requires_grad_(True)

    def train(self, kit: Kit, folder: Path) -> None:
        """Fine-tune every weight of the starting model on images that are attacked during training."""
        model = self._start(kit)
        model.network = self.trainable(model.network, kit.seed)
        model.to(kit.training.device)
        fit(
            model,
            kit.data(),
            self._recipe(kit.profile),
            seed=seed_of(kit.seed, "fit", 0),
            means=kit.training,
            title="train adversarially",
            hardening=self.hardening(kit.profile),
        )
        save_weights(model.network, folder)

    def load(self, kit: Kit, folder: Path) -> nn.Module:
        """The starting model with the weights of the file, frozen."""
        model = self._start(kit)
        model.network = load_weights(model.network, folder)
        return freeze(model).to(kit.training.device)

    def _start(self, kit: Kit) -> Classifier:
        start = kit.start()
        if not isinstance(start, Classifier):
            raise BenchError("adversarial training needs a classifier to start from")
        return start

    def _recipe(self, profile: Profile) -> Recipe:
        if self.tuning not in profile.recipes:
            raise InputError(f"profile {profile.name} has no recipe {self.tuning!r}; expected one: give --set "
                             f"profile.recipes.{self.tuning}.steps=... and the rest of it")  # fmt: skip
        return profile.recipes[self.tuning]

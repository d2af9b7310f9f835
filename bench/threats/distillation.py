"""The adversary queries the deployed model on its own images and trains a substitute on the answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from pydantic import Field
from torch import nn

from bench.core.errors import InputError
from bench.core.nouns import Access, Trained
from bench.core.plugins import Knowledge, Threat, View, Workshop
from bench.core.profile import Recipe
from bench.models.classifier import Classifier, freeze
from bench.models.weights import load_weights, save_weights
from bench.training.distil import DISTILLING_VERSION, distil


class Distillation(Threat):
    """A substitute trained on the deployed model's scores for training images, with a total query budget."""

    tier = "T3"
    knows = frozenset({Knowledge.PRETRAINED, Knowledge.MECHANISM, Knowledge.QUERIES})
    cost = "the training data, some thousand calls before the first image is attacked, one fine-tuning"

    query_budget: int = Field(10_000, ge=1, description="queries in total, before any image is attacked")
    recipe: str = Field("full", description="the profile's recipe for batch, rate and augmentation")
    steps: int | None = Field(None, ge=1, description="training steps; null: twice the recipe's")

    def source(self, view: View) -> Trained:
        """The trained substitute."""
        shop, asked = view.workshop(), view.answers(Access.SCORES, self.query_budget)
        recipe = self._recipe(shop)
        made_from: dict[str, Any] = {
            "threat": "distillation",
            "answers": asked.digest,
            "questions": self.query_budget,
            "recipe": recipe.model_dump(mode="json"),
            "version": DISTILLING_VERSION,
        }

        def build(folder: Path) -> None:
            student = cast("Classifier", shop.start()).to(shop.training.device)
            distil(student, asked.model, shop.data(), recipe, self.query_budget, seed=shop.seed, means=shop.training)
            save_weights(student.network, folder)

        folder, found = shop.keep(made_from, build)
        student = cast("Classifier", shop.start())
        load_weights(student.network, folder)
        model: nn.Module = freeze(student).to(shop.training.device)
        return Trained(model, found, f"substitute fitted to {self.query_budget} answers", folder)

    def _recipe(self, shop: Workshop) -> Recipe:
        if self.recipe not in shop.profile.recipes:
            known = ", ".join(shop.profile.recipes)
            raise InputError(f"profile {shop.profile.name} has no recipe {self.recipe!r}; expected one of {known}")
        recipe = shop.profile.recipes[self.recipe]
        return recipe.model_copy(update={"steps": self.steps or 2 * recipe.steps})

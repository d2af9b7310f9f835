"""The adversary has extracted the weights of a device, but not its key."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Literal, cast

import torch
from pydantic import Field
from torch import nn

from bench.core.errors import InputError, NotApplicableError
from bench.core.nouns import Batch, Trained
from bench.core.plugins import Knowledge, Leak, Threat, View, Workshop
from bench.core.seeds import seed_of
from bench.models.classifier import Classifier, freeze
from bench.models.fold import fold
from bench.models.keysearch import search_order
from bench.models.parts import ends, first_convolution, share_equal_channels
from bench.models.weights import load_weights, save_weights
from bench.training.fit import TRAINING_VERSION, fit

_VERSION = 2  # part of the address of the recovered model


class LeakedWeights(Threat):
    """White-box on the leaked network with a first layer that needs no key: retrained, or with the recovered key."""

    tier = "T4"
    knows = frozenset({Knowledge.PRETRAINED, Knowledge.MECHANISM, Knowledge.WEIGHTS})
    cost = "the weights of one device, the training data, and minutes to hours of fitting"

    how: Literal["auto", "bypass", "key-search"] = Field(
        "auto",
        description="bypass: retrain the first layer on plain images (PBA, Rusu et al., ICML 2022); key-search: "
        "assign columns, then climb in cross-entropy; auto: the search for a pixel shuffle that folds, else the bypass",
    )
    passes: int = Field(1, ge=0, description="key-search: passes over all pairs of positions")
    enough: float = Field(0.9, ge=0, le=1, description="key-search: share of correct images that ends the climb")
    images: int = Field(128, ge=1, description="key-search: training images for trying a guess")

    def source(self, view: View) -> Trained:
        """The leaked network, adapted to plain images."""
        leak, shop = view.leaked(), view.workshop()
        if not isinstance(leak.model, Classifier):
            raise InputError(
                f"a leaked {type(leak.model).__name__} has no first layer to re-learn; expected a classifier"
            )
        if self.how == "bypass" or (self.how == "auto" and not _searchable(leak)):
            return self._bypassed(leak, shop)
        return self._searched(leak, shop, cast("Classifier", view.base().model))

    def _bypassed(self, leak: Leak, shop: Workshop) -> Trained:
        """The first layer retrained on plain images, all other layers frozen."""
        if "partial" not in shop.profile.recipes:
            raise InputError(f"profile {shop.profile.name} has no recipe 'partial', which the bypass is trained with")
        recipe = shop.profile.recipes["partial"]
        made_from = {"recipe": recipe.model_dump(mode="json"), "training_version": TRAINING_VERSION}

        def build(folder: Path) -> None:
            model = _copy(leak)
            original = first_convolution(cast("Classifier", shop.start()).network).state_dict()
            first_convolution(model.network).load_state_dict(original)  # the layer that the trunk was trained with
            model.requires_grad_(False)
            model.network.get_submodule(ends(model.network)[0]).requires_grad_(True)
            seed = seed_of(shop.seed, "bypass")
            fit(model, shop.data(), recipe, seed=seed, means=shop.training, title="re-learn the first layer")
            share_equal_channels(first_convolution(model.network), self._picked(shop, seed).images)
            save_weights(model.network, folder)

        return self._kept(leak, shop, "bypass", made_from, build, _copy(leak))

    def _searched(self, leak: Leak, shop: Workshop, base: Classifier) -> Trained:
        """The network with the recovered order folded into its first layer.

        Raises:
            InputError: if the mechanism is not a pixel shuffle, or the network does not fold.
        """
        if not _searchable(leak):
            got = dict(leak.options)
            raise NotApplicableError(f"key-search knows pixel-shuffle before a patch embedding, got {got}; expected "
                                     "--set threat.how=bypass")  # fmt: skip
        block = int(leak.options["block_size"])
        made_from = {"passes": self.passes, "enough": self.enough, "images": self.images, "block": block}

        def build(folder: Path) -> None:
            seed = seed_of(shop.seed, "key-search")
            batch, told = self._picked(shop, seed), shop.training.progress
            found = search_order(
                _copy(leak), base, block, batch, passes=self.passes, seed=seed, progress=told, enough=self.enough
            )
            folded = fold(found.cpu())
            share_equal_channels(first_convolution(folded.network), batch.images.cpu())
            save_weights(folded.network, folder)

        plain = Classifier(fold(_copy(leak).cpu()).network, (0.0,) * 3, (1.0,) * 3)
        return self._kept(leak, shop, "key-search", made_from, build, plain)

    def _picked(self, shop: Workshop, seed: int) -> Batch:
        """A few training images, on the device."""
        data = shop.data()
        order = torch.randperm(len(data.ids), generator=torch.Generator().manual_seed(seed))
        return data.read(order[: self.images].tolist()).to(shop.training.device)

    def _kept(
        self, leak: Leak, shop: Workshop, how: str, made_from: dict[str, Any], build: Any, like: Classifier
    ) -> Trained:
        about = {"threat": "leaked-weights", "how": how, "leaked": leak.digest, "version": _VERSION, **made_from}
        folder, found = shop.keep(about, build)
        load_weights(like.network, folder)
        return Trained(freeze(like).to(shop.training.device), found, f"leaked weights, {how}", folder)


def _searchable(leak: Leak) -> bool:
    if leak.options.get("transform") != "pixel-shuffle" or not isinstance(leak.model, Classifier):
        return False
    try:
        fold(leak.model)
    except InputError:
        return False
    patch = cast("nn.Conv2d", cast("Any", leak.model.network).patch_embed.proj).kernel_size[0]
    return patch % int(leak.options["block_size"]) == 0


def _copy(leak: Leak) -> Classifier:
    return copy.deepcopy(cast("Classifier", leak.model))

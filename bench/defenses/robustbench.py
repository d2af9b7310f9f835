"""An adversarially trained model of RobustBench's zoo: no key, the published state of the art."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field
from torch import nn

from bench.core.errors import InputError
from bench.core.plugins import Defense, Kit
from bench.core.preprocessing import preset
from bench.core.profile import Profile
from bench.models.classifier import freeze
from bench.models.weights import load_weights, save_weights
from bench.models.zoo import zoo_model, zoo_network, zoo_preprocessing, zoo_weights

_CLASSES = 1000  # of ImageNet


class RobustBench(Defense):
    """A robust ImageNet model of RobustBench's zoo by name, without a key (arXiv 2010.09670)."""

    ready = True  # comes with its own weights: no base, no training images

    model: str = Field(description="RobustBench's name, e.g. Liu2023Comprehensive_Swin-L")
    threat: str = Field("Linf", description="what the model was trained to resist, in RobustBench's terms")

    def check(self, profile: Profile) -> None:
        """Refuse an unknown model, and a profile with other classes or another image size."""
        name = self.preprocessing()
        if profile.classes != _CLASSES:
            raise InputError(
                f"RobustBench's {self.model} has {_CLASSES} classes, profile {profile.name} has "
                f"{profile.classes}; expected a profile of ImageNet"
            )
        # "timm-eval" fits any size, the others specify theirs
        side = preset(name, side=profile.image_shape[-1], crop_share=1.0, interpolation="bicubic").crop
        if side and profile.image_shape != (3, side, side):
            raise InputError(
                f"RobustBench's {self.model} takes images of 3 x {side} x {side} ({name}), profile {profile.name} has "
                f"{' x '.join(map(str, profile.image_shape))}; set image_shape=[3,{side},{side}]"
            )

    def recipe(self, profile: Profile) -> dict[str, Any]:
        """Nothing is trained here; the name in the zoo determines the weights."""
        return {"zoo": "robustbench/imagenet", "model": self.model, "threat": self.threat}

    def preprocessing(self) -> str:
        """The preprocessing preset that RobustBench uses for the model.

        Raises:
            UnknownNameError: if RobustBench has no such model.
        """
        return zoo_preprocessing(self.model, self.threat)

    def weights_file(self, weights: Path | None) -> Path | None:
        """The model's local file, None if it would have to be downloaded."""
        return zoo_weights(self.model, threat=self.threat, weights=weights)

    def train(self, kit: Kit, folder: Path) -> None:
        """Copy the weights from the user's file, the cache or Google Drive."""
        network, _ = zoo_model(self.model, threat=self.threat, weights=kit.weights, offline=kit.offline)
        save_weights(network, folder)

    def load(self, kit: Kit, folder: Path) -> nn.Module:
        """The zoo's architecture with the weights of ``folder``, frozen."""
        network = load_weights(zoo_network(self.model, self.threat), folder)
        return freeze(network).to(kit.training.device)

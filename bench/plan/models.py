"""The maker of a plan: the models of a Spec, by name and architecture; none of them is built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from bench.core.canonical import digest
from bench.core.errors import InputError
from bench.core.nouns import Trained
from bench.core.plugins import InnerAdversary, Leak, Split, Threat, Workshop
from bench.core.profile import Base, Recipe
from bench.core.registry import registry
from bench.core.spec import Spec
from bench.engine.holders import Holder
from bench.engine.query_oracle import QueryOracle
from bench.engine.view import DeclaredView
from bench.engine.world import Maker, World
from bench.models.classifier import Classifier, backbone
from bench.models.ensemble import Ensemble
from bench.models.zoo import zoo_network
from bench.plan.measure import Architecture

if TYPE_CHECKING:
    from bench.core.nouns import Model


@dataclass(frozen=True)
class Training:
    """A model that must be trained: its name, recipe, trainable architecture, and how many times."""

    name: str
    digest: str
    options: dict[str, Any]
    seed: int
    recipe: Recipe
    architecture: Architecture
    times: int = 1


class Counting(Maker):
    """Builds no model: each is a name and an architecture, and requests are recorded.

    Args:
        spec: What would be evaluated.

    Attributes:
        trainings: By digest, in the order in which they are needed.
        architectures: Architecture of every requested model, by digest.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.trainings: dict[str, Training] = {}
        self.architectures: dict[str, Architecture] = {}

    def split(self, name: str) -> Split:
        """No images are read."""
        raise InputError(f"a plan reads no images of {self.spec.profile.dataset}, but split {name} was requested")

    def pretrained(self, base: Base) -> Trained:
        """An undefended model, and its training if it is trained locally."""
        profile = self.spec.profile
        made_from: dict[str, Any] = {"base": base.model_dump(mode="json"), "classes": profile.classes}
        name = f"base {base.name}"
        architecture = self._architecture(name, base)
        if base.recipe:
            made_from["dataset"] = profile.dataset
            trains = self._trained(name, base, made_from, lambda network: network)
            self._note(Training(name, digest(made_from), {}, base.seed, base.recipe, trains))
        return self._named(name, made_from, architecture)

    def defended(self, holder: Holder) -> Trained:
        """A holder's model, and its training if it has one."""
        spec, defense = self.spec, self.defense
        name = f"{spec.defense.name} {holder.note}"
        about: dict[str, Any] = {
            "defense": spec.defense.model_dump(mode="json"),
            "recipe": defense.recipe(spec.profile),
        }
        if defense.ready:
            name = str(spec.defense.options.get("model", name))
            return self._named(name, {"kind": "ready", **about}, self._of_zoo(name))
        about |= {"start": self.start.digest, "key": holder.fingerprint, "seed": holder.seed}
        start, members = spec.profile.start or spec.profile.base, defense.embeddings
        tuning = defense.tuning
        if tuning in spec.profile.recipes:
            trains = self._trained(name, start, about, lambda network: defense.trainable(network, 0))
            options = spec.defense.options
            self._note(Training(name, digest(about), options, spec.seed, spec.profile.recipes[tuning], trains, members))
        return self._named(name, about, self._architecture(start.name, start, members))

    def leaked(self, holder: Holder) -> Leak:
        """The adversary's use of leaked files is unknown."""
        raise self._unforeseen()

    def workshop(self) -> Workshop:
        """The adversary's training there is unknown."""
        raise self._unforeseen()

    def source(self, world: World) -> Trained:
        """The model that the threat would attack, which may combine several requested models."""
        threat: Threat = registry("threats").make(self.spec.threat.name, self.spec.threat.options)
        source = threat.source(DeclaredView(world, threat))
        if isinstance(source.model, QueryOracle):
            self.architectures[source.digest] = self.architectures[world.target.digest]
        elif source.digest not in self.architectures:
            members = len(source.model.members) if isinstance(source.model, Ensemble) else 1
            start = self.spec.profile.start or self.spec.profile.base
            self.architectures[source.digest] = self._architecture(source.note, start, members)
        return source

    def _unforeseen(self) -> InputError:
        return InputError(f"the training of threat {self.spec.threat.name} is unknown; expected a plan without it")

    def _named(self, name: str, made_from: dict[str, Any], architecture: Architecture) -> Trained:
        found = digest(made_from)
        self.architectures[found] = architecture
        return Trained(cast("Model", None), found, name)

    def _note(self, training: Training) -> None:
        self.trainings.setdefault(training.digest, training)

    def _architecture(self, name: str, base: Base, members: int = 1) -> Architecture:
        """A base as attacked; a transform of pixels adds no matrix product."""
        profile = self.spec.profile
        shape = [base.architecture, base.arguments, profile.classes, profile.image_shape, members]
        return Architecture(name, digest(shape), profile.image_shape, False, members, lambda: self._classifier(base))

    def _trained(
        self, name: str, base: Base, made_from: dict[str, Any], asked: Callable[[nn.Module], nn.Module]
    ) -> Architecture:
        profile, defense = self.spec.profile, made_from.get("defense", {})
        rank = [defense.get("name"), defense.get("options", {}).get("rank")]
        shape = [base.architecture, base.arguments, profile.classes, profile.image_shape, rank]

        hardening = self._hardening(made_from)
        shape += [hardening.steps] if hardening else []

        def build() -> nn.Module:
            model = self._classifier(base)
            model.network = asked(model.network)
            return Hardened(model, hardening) if hardening else model

        return Architecture(name, digest(shape), profile.image_shape, True, 1, build)

    def _hardening(self, made_from: dict[str, Any]) -> InnerAdversary | None:
        """The adversary inside the training of the Spec's defense; a base has none."""
        return self.defense.hardening(self.spec.profile) if "defense" in made_from else None

    def _classifier(self, base: Base) -> Classifier:
        return Classifier(backbone(base, self.spec.profile.classes, 0), base.mean, base.std)

    def _of_zoo(self, name: str) -> Architecture:
        options, shape = self.spec.defense.options, self.spec.profile.image_shape
        threat = str(options.get("threat", "Linf"))
        return Architecture(name, digest(["zoo", name, threat, shape]), shape, build=lambda: zoo_network(name, threat))


class Hardened(nn.Module):
    """A model as adversarial training calls it: a forward includes the adversary's gradients and its own.

    The adversary's memory for gradients is released before the training step, so it is not counted.
    """

    def __init__(self, model: nn.Module, hardening: InnerAdversary) -> None:
        super().__init__()
        self.model, self.hardening = model, hardening

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K) of the images that the adversary made of ``images`` (B, C, H, W)."""
        labels = torch.zeros(len(images), dtype=torch.long, device=images.device)
        with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):
            # a copy, because the operation counter hooks the inputs of modules, which fails if they are leaves
            moved = self.hardening.move(lambda x: self.model(x.clone()), images, labels, torch.zeros_like(images))
        logits: Tensor = self.model(moved)
        return logits

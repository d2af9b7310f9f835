"""The models that a Spec stands for, by name and architecture: none of them is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from bench.core.canonical import digest
from bench.core.errors import InputError
from bench.core.key import Key
from bench.core.nouns import Trained
from bench.core.plugins import Defense, ThreatModel, Workshop
from bench.core.profile import Base, Recipe
from bench.core.registry import registry
from bench.core.seeds import seed_of
from bench.core.spec import Spec
from bench.engine.query_oracle import QueryOracle
from bench.engine.view import DeclaredView
from bench.engine.world import World
from bench.models.classifier import Classifier, backbone
from bench.models.ensemble import Ensemble
from bench.models.zoo import zoo_network
from bench.plan.measure import Architecture
from bench.training.harden import Hardening

if TYPE_CHECKING:
    from bench.core.nouns import Model


@dataclass(frozen=True)
class Training:
    """A model that has to be trained: whose it is, the recipe, the architecture as it trains, and how many times."""

    name: str
    digest: str
    options: dict[str, Any]
    seed: int
    recipe: Recipe
    subject: Architecture
    times: int = 1


@dataclass
class Named:
    """The world of a Spec in which every model is a name; it notes which are asked for.

    Attributes:
        spec: What would be evaluated.
        trainings: By digest, in the order in which they are needed.
        subjects: Architecture of every model asked for, by digest.
    """

    spec: Spec
    trainings: dict[str, Training] = field(default_factory=dict)
    subjects: dict[str, Architecture] = field(default_factory=dict)

    @cached_property
    def defense(self) -> Defense:
        """The Spec's."""
        made: Defense = registry("defenses").make(self.spec.defense.name, self.spec.defense.options)
        return made

    @cached_property
    def base(self) -> Trained:
        """The undefended model."""
        return self._base(self.spec.profile.base)

    @cached_property
    def start(self) -> Trained:
        """What fine-tuning starts from."""
        start = self.spec.profile.start
        return self._base(start) if start else self.base

    @cached_property
    def target(self) -> Trained:
        """What would be shipped."""
        return self.sibling(self.spec.device)

    @cached_property
    def source(self) -> Trained:
        """What the threat model would attack."""
        threat: ThreatModel = registry("threats").make(self.spec.threat.name, self.spec.threat.options)
        source = threat.source(DeclaredView(cast("World", self), threat))
        if isinstance(source.model, QueryOracle):
            self.subjects[source.digest] = self.subjects[self.target.digest]
        elif source.digest not in self.subjects:
            members = len(source.model.members) if isinstance(source.model, Ensemble) else 1
            start = self.spec.profile.start or self.spec.profile.base
            self.subjects[source.digest] = self._architecture(source.note, start, members)
        return source

    def substitute(self, guess: int) -> Trained:
        """An adversary's model with a key of their own."""
        return self._defended(self._key("adversary", guess), seed_of(self.spec.seed, "adversary", guess),
                              f"substitute {guess}")  # fmt: skip

    def key_free(self, draw: int) -> Trained:
        """An adversary's model without a key."""
        if not self.defense.keyed:
            return self.substitute(draw)
        return self._defended(None, seed_of(self.spec.seed, "key-free", draw), f"key-free substitute {draw}")

    def workshop(self) -> Workshop:
        """Nothing is known of what an adversary makes there."""
        raise InputError(f"what threat {self.spec.threat.name} trains cannot be foreseen; expected a plan without it")

    leaked = workshop

    def sibling(self, index: int) -> Trained:
        """Another device of the same maker."""
        if index == 0:
            return self._named_key()
        if not self.defense.keyed:
            raise InputError(f"{self.spec.defense.name} has no key, so no siblings; expected a keyed defense")
        return self._defended(self._key("sibling", index - 1), seed_of(self.spec.seed, "sibling", index - 1),
                              f"device {index}")  # fmt: skip

    def _named_key(self) -> Trained:
        key = self.spec.key.fingerprint if self.spec.key else None
        return self._defended(key, seed_of(self.spec.seed, "defender"), "target")

    def _key(self, whose: str, number: int) -> str | None:
        return Key.from_seed(self.spec.seed, whose, number).fingerprint if self.defense.keyed else None

    def _base(self, base: Base) -> Trained:
        profile = self.spec.profile
        made_from: dict[str, Any] = {"base": base.model_dump(mode="json"), "classes": profile.classes}
        name = f"base {base.name}"
        subject = self._architecture(name, base)
        if base.recipe:
            made_from["dataset"] = profile.dataset
            trains = self._trained(name, base, made_from, lambda network: network)
            self._note(Training(name, digest(made_from), {}, base.seed, base.recipe, trains))
        return self._named(name, made_from, subject)

    def _defended(self, key: str | None, seed: int, role: str) -> Trained:
        spec, defense = self.spec, self.defense
        recipe = defense.recipe(spec.profile)
        if not recipe:
            return self.base
        name = f"{spec.defense.name} {role}"
        about: dict[str, Any] = {"defense": spec.defense.model_dump(mode="json"), "recipe": recipe}
        if getattr(defense, "ready", False):
            name = str(spec.defense.options.get("model", name))
            return self._named(name, {"kind": "ready", **about}, self._of_zoo(name))
        about |= {"start": self.start.digest, "key": key, "seed": seed}
        start, members = spec.profile.start or spec.profile.base, int(getattr(defense, "embeddings", 1))
        tuning = getattr(defense, "tuning", None)
        if tuning in spec.profile.recipes and hasattr(defense, "trainable"):
            trains = self._trained(name, start, about, lambda network: defense.trainable(network, 0))
            options = spec.defense.options
            self._note(Training(name, digest(about), options, spec.seed, spec.profile.recipes[tuning], trains, members))
        return self._named(name, about, self._architecture(start.name, start, members))

    def _named(self, name: str, made_from: dict[str, Any], subject: Architecture) -> Trained:
        found = digest(made_from)
        self.subjects[found] = subject
        return Trained(cast("Model", None), found, name)

    def _note(self, training: Training) -> None:
        self.trainings.setdefault(training.digest, training)

    def _architecture(self, name: str, base: Base, members: int = 1) -> Architecture:
        """A base as it is attacked; a transform of pixels adds no matrix product."""
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

    def _hardening(self, made_from: dict[str, Any]) -> Hardening | None:
        """The adversary inside the training of the Spec's defense; a base has none."""
        say = getattr(self.defense, "hardening", None) if "defense" in made_from else None
        hardening: Hardening | None = say(self.spec.profile) if say else None
        return hardening

    def _classifier(self, base: Base) -> Classifier:
        return Classifier(backbone(base, self.spec.profile.classes, 0), base.mean, base.std)

    def _of_zoo(self, name: str) -> Architecture:
        options, shape = self.spec.defense.options, self.spec.profile.image_shape
        threat = str(options.get("threat", "Linf"))
        return Architecture(name, digest(["zoo", name, threat, shape]), shape, build=lambda: zoo_network(name, threat))


class Hardened(nn.Module):
    """A model as adversarial training calls it: a forward stands for the adversary's gradients and for its own.

    What the adversary keeps for a gradient is let go before the weights learn, so it is no memory of theirs.
    """

    def __init__(self, model: nn.Module, hardening: Hardening) -> None:
        super().__init__()
        self.model, self.hardening = model, hardening

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K) of the images that the adversary made of ``images`` (B, C, H, W)."""
        labels = torch.zeros(len(images), dtype=torch.long, device=images.device)
        with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):
            # a copy, since what counts operations hooks the inputs of modules, and cannot where they are leaves
            moved = self.hardening.move(lambda x: self.model(x.clone()), images, labels, torch.zeros_like(images))
        logits: Tensor = self.model(moved)
        return logits

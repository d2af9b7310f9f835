"""The deployment of a Spec, and the models around it that an adversary may obtain."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property

from bench.core.errors import NotApplicableError
from bench.core.key import Key
from bench.core.nouns import Trained
from bench.core.plugins import Defense, Leak, Split, Workshop
from bench.core.profile import Base
from bench.core.registry import registry
from bench.core.spec import Spec
from bench.engine.holders import Holder, Holders


class Maker(ABC):
    """Handles a World's request for a model: creates or loads it, counts it, or refuses it.

    Args:
        spec: The deployment.

    Attributes:
        device: Device of the models.
        notes: Notes on the models for the record.
    """

    device = "cpu"

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.defense: Defense = registry("defenses").make(spec.defense.name, spec.defense.options)
        self.notes: list[str] = []

    @cached_property
    def base(self) -> Trained:
        """The undefended pre-trained model."""
        return self.pretrained(self.spec.profile.base)

    @cached_property
    def start(self) -> Trained:
        """The starting model of fine-tuning."""
        start = self.spec.profile.start
        return self.pretrained(start) if start else self.base

    @abstractmethod
    def split(self, name: str) -> Split:
        """The split ``train``, the only training images of any model, or ``test``."""

    @abstractmethod
    def pretrained(self, base: Base) -> Trained:
        """An undefended model."""

    @abstractmethod
    def defended(self, holder: Holder) -> Trained:
        """The model that the defense makes for a holder."""

    @abstractmethod
    def leaked(self, holder: Holder) -> Leak:
        """The files of a holder's model, read without its key."""

    @abstractmethod
    def workshop(self) -> Workshop:
        """Tools for an adversary to train a model that is not the defender's."""


class World:
    """The deployment of a Spec and everything around it that an adversary may obtain.

    Args:
        maker: The Spec's maker; called lazily.
        key: The defender's key; None for a defense without one, or if only its fingerprint is known.
    """

    def __init__(self, maker: Maker, key: Key | None = None) -> None:
        self.maker, self.spec, self.defense = maker, maker.spec, maker.defense
        self.device, self.notes = maker.device, maker.notes
        self.holders = Holders(maker.spec, maker.defense, key)

    @cached_property
    def train_split(self) -> Split:
        """The only training images of any model."""
        return self.maker.split("train")

    @cached_property
    def test_split(self) -> Split:
        """The judged images, and others."""
        return self.maker.split("test")

    @property
    def base(self) -> Trained:
        """The undefended pre-trained model."""
        return self.maker.base

    @property
    def start(self) -> Trained:
        """The starting model of fine-tuning."""
        return self.maker.start

    @cached_property
    def target(self) -> Trained:
        """The deployed model of the judged device."""
        return self._defended(self.holders.target())

    def sibling(self, number: int) -> Trained:
        """Device ``number`` of the maker.

        Raises:
            NotApplicableError: if the defense has no key.
        """
        holder = self.holders.sibling(number)
        return self.target if holder.judged else self._defended(holder)

    def substitute(self, guess: int) -> Trained:
        """A model trained by the adversary with the defender's method, with a key of the adversary's own."""
        return self._defended(self.holders.substitute(guess))

    def key_free(self, draw: int, *, permuted: bool = False) -> Trained:
        """A model trained by the adversary with the defender's method, but on plain images.

        With ``permuted``, it starts from a first layer whose inputs are permuted at random inside blocks.

        Raises:
            NotApplicableError: if the defense cannot be trained without a key.
        """
        return self._defended(self.holders.key_free(draw, permuted=permuted))

    def leaked(self) -> Leak:
        """The target's files, read without its key.

        Raises:
            NotApplicableError: if the defense does not store a key apart from its weights.
        """
        if not self.defense.leaks:
            raise NotApplicableError(f"{self.spec.defense.name} keeps no key apart from its weights; expected a keyed "
                                     "defense that says what leaks (`leak`)")  # fmt: skip
        return self.maker.leaked(self.holders.target())

    def workshop(self) -> Workshop:
        """Tools for an adversary to train a model that is not the defender's."""
        return self.maker.workshop()

    def _defended(self, holder: Holder) -> Trained:
        return self.maker.defended(holder) if self.defense.recipe(self.spec.profile) else self.base

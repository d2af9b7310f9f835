"""What a Spec stands for: the deployment, and the models around it that an adversary may come to hold."""

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
    """What happens where a World needs a model: it is made or loaded, counted, or refused.

    Args:
        spec: The deployment.

    Attributes:
        device: Where models are.
        notes: What a reader of a record must know of the models.
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
        """What fine-tuning starts from."""
        start = self.spec.profile.start
        return self.pretrained(start) if start else self.base

    @abstractmethod
    def split(self, name: str) -> Split:
        """The split ``train``, the only images that any model is fitted to, or ``test``."""

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
        """With what an adversary makes a model that is not the defender's."""


class World:
    """The deployment of a Spec and everything around it that an adversary may come to hold.

    Args:
        maker: Of the Spec; what it is asked for is asked when it is first needed.
        key: The defender's key; None for a defense without one, or where only its fingerprint is known.
    """

    def __init__(self, maker: Maker, key: Key | None = None) -> None:
        self.maker, self.spec, self.defense = maker, maker.spec, maker.defense
        self.device, self.notes = maker.device, maker.notes
        self.holders = Holders(maker.spec, maker.defense, key)

    @cached_property
    def train_split(self) -> Split:
        """The only images that any model is fitted to."""
        return self.maker.split("train")

    @cached_property
    def test_split(self) -> Split:
        """The images that are judged, and others."""
        return self.maker.split("test")

    @property
    def base(self) -> Trained:
        """The undefended pre-trained model."""
        return self.maker.base

    @property
    def start(self) -> Trained:
        """What fine-tuning starts from."""
        return self.maker.start

    @cached_property
    def target(self) -> Trained:
        """What the defender shipped, on the device that is judged."""
        return self._defended(self.holders.target())

    def sibling(self, number: int) -> Trained:
        """Device ``number`` of the maker.

        Raises:
            NotApplicableError: the defense has no key.
        """
        holder = self.holders.sibling(number)
        return self.target if holder.judged else self._defended(holder)

    def substitute(self, guess: int) -> Trained:
        """A model made by the adversary as the defender makes them, with a key of the adversary's own."""
        return self._defended(self.holders.substitute(guess))

    def key_free(self, draw: int) -> Trained:
        """A model made by the adversary as the defender makes them, but on plain images.

        Raises:
            NotApplicableError: the defense cannot be made without a key.
        """
        return self._defended(self.holders.key_free(draw))

    def leaked(self) -> Leak:
        """The target's files, read without its key.

        Raises:
            NotApplicableError: the defense does not keep a key apart from its weights.
        """
        if not self.defense.leaks:
            raise NotApplicableError(f"{self.spec.defense.name} keeps no key apart from its weights; expected a keyed "
                                     "defense that says what leaks (`leak`)")  # fmt: skip
        return self.maker.leaked(self.holders.target())

    def workshop(self) -> Workshop:
        """With what an adversary makes a model that is not the defender's."""
        return self.maker.workshop()

    def _defended(self, holder: Holder) -> Trained:
        return self.maker.defended(holder) if self.defense.recipe(self.spec.profile) else self.base

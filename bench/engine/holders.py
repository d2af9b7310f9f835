"""Who may hold a model of one deployment, and with which key: the one list of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bench.core.errors import NotApplicableError
from bench.core.key import Key
from bench.core.plugins import Defense
from bench.core.seeds import seed_of
from bench.core.spec import Spec


@dataclass(frozen=True)
class Holder:
    """For whom a model is made.

    Attributes:
        seed: Of its making.
        note: What people call it.
        fingerprint: Of its key; None for a model without one.
        key: The key itself, where it is known here.
        judged: It is the device that the run judges.
    """

    seed: int
    note: str
    fingerprint: str | None = None
    key: Key | None = None
    judged: bool = False

    def leaked(self) -> Holder:
        """Who has this holder's files, and not the key."""
        return replace(self, key=None)


@dataclass(frozen=True)
class Holders:
    """Everybody who may hold a model that is made as the defender makes them.

    Attributes:
        spec: The deployment.
        defense: The Spec's.
        key: The defender's key, where it is known here; the Spec names it by fingerprint.
    """

    spec: Spec
    defense: Defense
    key: Key | None = None

    def target(self) -> Holder:
        """The device that is judged."""
        return self._device(self.spec.device)

    def sibling(self, number: int) -> Holder:
        """Device ``number`` of the maker: number 0 holds the key that the Spec names, the others a key of their own.

        Raises:
            NotApplicableError: the defense has no key, so all its devices are the same model.
        """
        if not self.defense.keyed:
            raise NotApplicableError(f"{self.spec.defense.name} has no key, so no siblings; expected a keyed defense")
        return self._device(number)

    def substitute(self, guess: int) -> Holder:
        """An adversary with guess number ``guess`` for a key; without a key where the defense has none."""
        key = self._drawn("adversary", guess) if self.defense.keyed else None
        return _holder(seed_of(self.spec.seed, "adversary", guess), f"substitute {guess}", key)

    def key_free(self, draw: int) -> Holder:
        """An adversary that makes the model on plain images, without a key.

        Raises:
            NotApplicableError: the defense cannot be made without a key.
        """
        if not self.defense.keyed:
            return self.substitute(draw)
        if not self.defense.key_free:
            raise NotApplicableError(f"{self.spec.defense.name} cannot be made without a key; expected another threat")
        return _holder(seed_of(self.spec.seed, "key-free", draw), f"key-free substitute {draw}", None)

    def _device(self, number: int) -> Holder:
        judged = number == self.spec.device
        if number:
            seed, key = seed_of(self.spec.seed, "sibling", number - 1), self._drawn("sibling", number - 1)
            return replace(_holder(seed, f"device {number}", key), judged=judged)
        named = self.spec.key.fingerprint if self.spec.key else None
        holder = _holder(seed_of(self.spec.seed, "defender"), "target", self.key)
        return replace(holder, fingerprint=holder.fingerprint or named, judged=judged)

    def _drawn(self, role: str, number: int) -> Key:
        return Key.from_seed(self.spec.seed, role, number)


def seeded_key(seed: int) -> Key:
    """The key of device 0 where the user names none: drawn from the run's seed, so no secret."""
    return Key.from_seed(seed, "defender")


def _holder(seed: int, note: str, key: Key | None) -> Holder:
    return Holder(seed, note, key.fingerprint if key else None, key)

"""The single list of the holders of one deployment's models and of their keys."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bench.core.errors import NotApplicableError
from bench.core.key import Key
from bench.core.plugins import Defense
from bench.core.seeds import seed_of
from bench.core.spec import Spec


@dataclass(frozen=True)
class Holder:
    """The owner of a model.

    Attributes:
        seed: Seed of its training.
        note: Human-readable name.
        fingerprint: Fingerprint of its key; None for a model without one.
        key: The key itself, if it is available.
        judged: Whether it is the device that the run judges.
        permuted: Whether a model without a key starts from a first layer with permuted inputs.
    """

    seed: int
    note: str
    fingerprint: str | None = None
    key: Key | None = None
    judged: bool = False
    permuted: bool = False

    def leaked(self) -> Holder:
        """The holder of the same files without the key."""
        return replace(self, key=None)


@dataclass(frozen=True)
class Holders:
    """All holders of models that are made by the defender's method.

    Attributes:
        spec: The deployment.
        defense: The Spec's.
        key: The defender's key, if available; the Spec identifies it by fingerprint.
    """

    spec: Spec
    defense: Defense
    key: Key | None = None

    def target(self) -> Holder:
        """The judged device."""
        return self._device(self.spec.device)

    def sibling(self, number: int) -> Holder:
        """Device ``number`` of the maker: number 0 has the key in the Spec, the others have their own keys.

        Raises:
            NotApplicableError: if the defense has no key, so that all its devices are the same model.
        """
        if not self.defense.keyed:
            raise NotApplicableError(f"{self.spec.defense.name} has no key, so no siblings; expected a keyed defense")
        return self._device(number)

    def substitute(self, guess: int) -> Holder:
        """An adversary with key guess number ``guess``; without a key if the defense has none."""
        key = self._drawn("adversary", guess) if self.defense.keyed else None
        return _holder(seed_of(self.spec.seed, "adversary", guess), f"substitute {guess}", key)

    def key_free(self, draw: int, *, permuted: bool = False) -> Holder:
        """An adversary that trains the model on plain images, without a key.

        Args:
            draw: Number of the model.
            permuted: It starts from a first layer with permuted inputs.

        Raises:
            NotApplicableError: if the defense cannot be trained without a key.
        """
        if not self.defense.keyed:
            return self.substitute(draw)
        if not self.defense.key_free:
            raise NotApplicableError(f"{self.spec.defense.name} cannot be made without a key; expected another threat")
        start = "permutations" if permuted else "plain"
        holder = _holder(
            seed_of(self.spec.seed, f"key-free/{start}", draw), f"key-free substitute {draw} ({start})", None
        )
        return replace(holder, permuted=permuted)

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
    """The key of device 0 if the user gives none: derived from the run's seed, so it is not secret."""
    return Key.from_seed(seed, "defender")


def _holder(seed: int, note: str, key: Key | None) -> Holder:
    return Holder(seed, note, key.fingerprint if key else None, key)

"""The secret key: 256 bits that are never printed, logged, pickled or recorded."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import NoReturn

from bench.core.errors import KeyringError
from bench.core.seeds import permutation

_DOMAIN = b"keybench/v1/"
_BYTES = 32


class Key:
    """A 256-bit secret; only its fingerprint may be shown.

    Raises:
        KeyringError: if ``secret`` is not 32 bytes long.
    """

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        if len(secret) != _BYTES:
            raise KeyringError(f"a key has {len(secret)} bytes; expected {_BYTES} (make one with `bench key new NAME`)")
        self._secret = bytes(secret)

    @classmethod
    def random(cls) -> Key:
        """A new key from the operating system's generator."""
        return cls(secrets.token_bytes(_BYTES))

    @classmethod
    def from_seed(cls, seed: int, role: str, index: int = 0) -> Key:
        """The key of ``role`` (defender, adversary, sibling) derived from a run's public seed; it is not secret."""
        return cls(hashlib.sha256(_DOMAIN + f"seed/{role}/{index}/{seed}".encode()).digest())

    def child(self, index: int) -> Key:
        """Key number ``index`` of a device with several keys; number 0 is the key itself."""
        return self if index == 0 else Key(hashlib.sha256(_DOMAIN + f"child/{index}/".encode() + self._secret).digest())

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that identify the key without revealing it."""
        return hashlib.sha256(_DOMAIN + b"fingerprint/" + self._secret).hexdigest()[:16]

    def permutation(self, purpose: str, n: int) -> list[int]:
        """Permutation of ``range(n)`` for one purpose; other purposes and other n give unrelated permutations.

        The material is ``"keybench/v1/permutation/<purpose>/n=<n>/"`` followed by the 32 secret bytes; the rule is
        :func:`bench.core.seeds.permutation`.
        """
        return permutation(_DOMAIN + f"permutation/{purpose}/n={n}/".encode() + self._secret, n)

    def derive(self, purpose: str) -> bytes:
        """32 bytes for one purpose, such as a password; as secret as the key itself.

        They are SHA-256 of ``"keybench/v1/derive/<purpose>/"`` followed by the 32 secret bytes.
        """
        return hashlib.sha256(_DOMAIN + f"derive/{purpose}/".encode() + self._secret).digest()

    def reveal(self) -> str:
        """The secret as 64 hexadecimal digits, only for the key file."""
        return self._secret.hex()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and hmac.compare_digest(self._secret, other._secret)

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        return f"Key(fingerprint={self.fingerprint})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is never pickled; pass its name or its seed instead")

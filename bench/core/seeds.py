"""Randomness that depends on its purpose, never on a batch, a worker or the clock."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from bench.core.canonical import canonical


def seed_of(*parts: str | int) -> int:
    """Hash named parts to a 63-bit seed, e.g. ``seed_of(run_seed, image_id, "pgd", restart)``."""
    return int.from_bytes(hashlib.sha256(canonical(list(parts))).digest()[:8], "big") >> 1


def words(material: bytes) -> Iterator[int]:
    """Endless stream of 32-bit big-endian words of SHAKE-256(material), the same on every platform."""
    size, start = 1024, 0
    while True:
        block = hashlib.shake_256(material).digest(size)
        for at in range(start, size, 4):
            yield int.from_bytes(block[at : at + 4], "big")
        start, size = size, size * 2


def permutation(material: bytes, n: int) -> list[int]:
    """Uniform permutation of ``range(n)`` by Fisher-Yates over the word stream of ``material``.

    For i = n-1 down to 1 an index j in [0, i] is drawn by rejection (words at or above the largest multiple of
    i + 1 below 2**32 are skipped, so the draw is uniform) and entries i and j are exchanged. The result depends only
    on SHAKE-256 and this rule, not on the version of any library.
    """
    order, stream = list(range(n)), words(material)
    for i in range(n - 1, 0, -1):
        bound = (1 << 32) - (1 << 32) % (i + 1)
        word = next(w for w in stream if w < bound)
        j = word % (i + 1)
        order[i], order[j] = order[j], order[i]
    return order

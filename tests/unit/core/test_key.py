"""The key's derivation is fixed for ever: other machines and other years must draw the same permutations."""

import hashlib
import pickle
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.errors import KeyringError
from bench.core.key import Key
from bench.core.seeds import permutation, seed_of

# Made once with hashlib alone (SHAKE-256 and Fisher-Yates as documented), not with the code under test.
KNOWN = {
    "count-2-12": [7, 8, 9, 6, 4, 5, 0, 3, 2, 10, 11, 1],
    "count-np-2-12": [8, 11, 4, 5, 9, 7, 0, 2, 3, 6, 1, 10],
    "fingerprints": ("5b0c762f0669f016", "b31df39369c38c0a"),
    "seed-0-defender": "4ae8cd3dbfd81354",
    "seed_of": 5064008404009251510,
    "zero-16-768": "3822c2541d614326d2a81514ed81f4de275fdc0230a875246097fedb1e111358",
    "zero-2-12": [8, 3, 6, 4, 2, 0, 9, 7, 10, 1, 11, 5],
}
ZERO, COUNT = Key(bytes(32)), Key(bytes(range(32)))


def test_known_answers_of_the_permutation():
    assert ZERO.permutation("pixel-shuffle/P=2", 12) == KNOWN["zero-2-12"]
    assert COUNT.permutation("pixel-shuffle/P=2", 12) == KNOWN["count-2-12"]
    assert COUNT.permutation("negative-positive/P=2", 12) == KNOWN["count-np-2-12"]
    long = ZERO.permutation("pixel-shuffle/P=16", 768)
    assert hashlib.sha256(repr(long).encode()).hexdigest() == KNOWN["zero-16-768"]


def test_known_answers_of_fingerprints_and_seeds():
    assert (ZERO.fingerprint, COUNT.fingerprint) == KNOWN["fingerprints"]
    assert Key.from_seed(0, "defender").fingerprint == KNOWN["seed-0-defender"]
    assert seed_of(0, "digits-0001", "pgd", 0) == KNOWN["seed_of"]


@given(st.binary(max_size=8), st.integers(1, 300))
def test_a_permutation_holds_every_entry_once(material, n):
    assert sorted(permutation(material, n)) == list(range(n))


def test_the_permutation_is_uniform():
    """Chi-square over all 24 orders of 4 entries, 4,800 draws: 23 degrees of freedom, 60 is beyond p = 1e-4."""
    counts: dict[tuple[int, ...], int] = {}
    for i in range(4800):
        order = tuple(permutation(i.to_bytes(4, "big"), 4))
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 24
    assert sum((c - 200) ** 2 / 200 for c in counts.values()) < 60


def test_purposes_sizes_and_keys_are_separate_domains():
    drawn = [
        COUNT.permutation("pixel-shuffle/P=4", 48),
        COUNT.permutation("negative-positive/P=4", 48),
        COUNT.permutation("pixel-shuffle/P=8", 48),
        ZERO.permutation("pixel-shuffle/P=4", 48),
    ]
    assert len({tuple(d) for d in drawn}) == 4
    roles = {Key.from_seed(0, r, i) for r in ("defender", "adversary", "sibling") for i in range(3)}
    assert len(roles) == 9


def test_a_key_shows_only_its_fingerprint():
    key = Key.random()
    secret = key.reveal()
    try:
        _ = {"key": key}["nothing"]
    except KeyError:
        shown = traceback.format_exc()
    for text in (repr(key), str(key), f"{key}", shown):
        assert secret not in text
    assert key.fingerprint in repr(key)
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(key)


def test_a_short_secret_is_refused_without_being_shown():
    with pytest.raises(KeyringError, match="5 bytes; expected 32") as error:
        Key(b"short")
    assert "short" not in str(error.value)

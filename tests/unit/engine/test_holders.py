"""Who holds a model, with which key and seed; no model is made here."""

import pytest

from bench.core.errors import NotApplicableError
from bench.core.key import Key
from bench.core.registry import registry
from bench.engine.holders import Holders
from bench.engine.request import Request
from bench.engine.resolve import resolve
from bench.store.keyring import Keyring


def holders(tmp_path, defense: str, *, known: bool = True, device: int = 0) -> Holders:
    job = resolve(Request(defense, "white-box", judge_device=device), Keyring(tmp_path))
    return Holders(job.spec, registry("defenses").make(defense, job.spec.defense.options), job.key if known else None)


@pytest.mark.parametrize("device", [0, 2])
def test_who_knows_the_key_and_who_knows_its_fingerprint_name_the_same_models(tmp_path, device):
    ours, theirs = (holders(tmp_path, "key-lora", known=known, device=device) for known in (True, False))
    for mine, other in (
        (ours.target(), theirs.target()),
        *((ours.sibling(i), theirs.sibling(i)) for i in range(3)),
        (ours.substitute(1), theirs.substitute(1)),
        (ours.key_free(1), theirs.key_free(1)),
        (ours.key_free(1, permuted=True), theirs.key_free(1, permuted=True)),
    ):
        assert (mine.seed, mine.note, mine.fingerprint) == (other.seed, other.note, other.fingerprint)
    assert ours.sibling(0).key == Key.from_seed(0, "defender")
    assert theirs.sibling(0).key is None
    assert theirs.sibling(0).fingerprint == Key.from_seed(0, "defender").fingerprint


def test_one_device_is_judged_and_all_others_have_keys_and_seeds_of_their_own(tmp_path):
    found = holders(tmp_path, "key-lora", device=1)
    everybody = [*(found.sibling(i) for i in range(3)), *(found.substitute(i) for i in range(3))]
    assert [h.judged for h in everybody] == [False, True, False, False, False, False]
    assert found.target() == found.sibling(1)
    assert len({h.fingerprint for h in everybody}) == len({h.seed for h in everybody}) == len(everybody)
    assert found.key_free(0).fingerprint is None
    plain, permuted = found.key_free(0), found.key_free(0, permuted=True)
    assert len({plain.seed, permuted.seed, *(h.seed for h in everybody)}) == 2 + len(everybody)
    assert (plain.permuted, permuted.permuted) == (False, True)


def test_a_leak_keeps_everything_but_the_key(tmp_path):
    target = holders(tmp_path, "key-lora").target()
    leaked = target.leaked()
    assert leaked.key is None
    assert (leaked.seed, leaked.fingerprint, leaked.judged) == (target.seed, target.fingerprint, True)


def test_without_a_key_there_are_no_siblings_and_every_adversary_does_without_one(tmp_path):
    found = holders(tmp_path, "adversarial")
    with pytest.raises(NotApplicableError, match="adversarial has no key, so no siblings"):
        found.sibling(1)
    assert found.target().fingerprint is None
    assert found.key_free(2) == found.key_free(2, permuted=True) == found.substitute(2)
    assert found.substitute(2).fingerprint is None

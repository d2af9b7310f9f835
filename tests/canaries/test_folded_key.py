"""The plain model with a key folded in passes the key's own test, and the lowest tier shows what it is worth."""

import copy
import json

import torch

from bench.core.key import Key
from bench.core.profile import load_profile
from bench.core.registry import registry

HARD = {"block_size": 8}  # smooth digits forgive a wrong shuffle of smaller blocks


def accuracy(model, batch) -> float:
    with torch.no_grad():
        return float((model(batch.images).argmax(1) == batch.labels).float().mean())


def test_it_passes_the_test_of_right_and_wrong_keys(lab):
    subject = lab.subject("canary-folded-key", **HARD)
    right = accuracy(subject.target, subject.batch)
    defense, profile = registry("defenses").make("canary-folded-key", HARD), load_profile("digits")
    wrong = []
    for seed in range(1, 11):
        other = copy.deepcopy(subject.target)
        other.transform = defense.bind(Key.from_seed(seed, "wrong"), profile)
        wrong.append(accuracy(other, subject.batch))
    assert right >= 0.85, (right, wrong)
    assert sum(wrong) / len(wrong) <= right - 0.2, (right, wrong)


def test_the_lowest_tier_leaves_what_it_leaves_of_the_plain_model(lab, cli):
    attack = ("--attack", "pgd", "--set", "attack.steps=10", "--eps", "0.03", "--limit", "60", "--json")
    keyed = cli("run", "--defense", "canary-folded-key", "--threat", "non-adaptive", *attack)
    plain = cli("run", "--defense", "plain", "--threat", "white-box", *attack)
    ours, theirs = json.loads(keyed.out), json.loads(plain.out)
    assert ours["metrics"]["outcomes"] == theirs["metrics"]["outcomes"]
    assert 0 < theirs["metrics"]["outcomes"]["robust"] < 60
    assert keyed.code == 1  # and the audit of every run says why
    assert any("unreliable: key" in why["text"] for why in ours["ineligible_because"])

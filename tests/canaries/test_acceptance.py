"""Through `bench run` itself: no broken defense gets an eligible record that flatters it, and no honest one is flagged.

What looks for the judge finds none in the process of its own in which it is judged: its figure is then the right one.
The checks do not know the names. Run the slow test with ``-s`` to read the table.
"""

import json
import sys

import pytest

from bench.checks.battery import Status

SMALL = ("profile.base.arguments.embed_dim=32", "profile.base.arguments.depth=2", "profile.base.recipe.steps=250")
TUNED = ("profile.recipes.full.steps=100", "profile.recipes.lora.steps=100")
SHORT = ("--attack", "pgd", "--set", "attack.steps=10", "--limit", "40")
RESNET = (
    "profile.base.architecture=resnet26", "profile.base.recipe.steps=150",
    "profile.base.arguments={layers: [1, 1, 1, 1], channels: [16, 32, 48, 64], stem_type: deep, stem_width: 16}",
)  # fmt: skip
WHITE = "white-box"
REFUSED = 2  # exit code
JUDGED_RIGHT = "nothing"  # no check fails, and the figure is not above that of the undefended model

# Name, threat, and a check that must be among those that fail.
BROKEN = [
    # they remember images
    ("canary-hair", WHITE, "moved copies"),
    ("canary-hair radius=0.15 every=2", WHITE, "rise"),
    ("canary-hair radius=0.1 train_too=false", WHITE, "beyond eps"),
    ("canary-fading", WHITE, "moved copies"),
    ("canary-grown", WHITE, "moved copies"),
    ("canary-memorised", WHITE, "memory"),
    ("canary-nearest-test", WHITE, "large eps"),
    ("canary-squeezing", WHITE, "jumps"),
    # they keep answers, or know who asks
    ("canary-first-label", WHITE, "state"),
    ("canary-warms-up", WHITE, "state"),
    ("canary-adapting", WHITE, "state"),
    ("canary-remembering", WHITE, "state"),
    ("canary-judges-shape", WHITE, "judge"),
    ("canary-looks-up", WHITE, JUDGED_RIGHT),
    ("canary-no-inference", WHITE, "mode"),
    ("canary-train-mode", WHITE, "batch"),
    # their gradient is not theirs
    ("canary-reversed-near", WHITE, "rise"),
    ("canary-reversed-far", WHITE, "rise"),
    ("canary-astray", WHITE, "rise"),
    ("canary-shattered", WHITE, "rise"),
    ("canary-coarse-features", WHITE, "jumps"),
    ("canary-quantised", WHITE, "gradient"),
    ("canary-detached", WHITE, "gradient"),
    ("canary-k-wta", WHITE, "jumps"),
    ("canary-scaled-logits", WHITE, "saturation"),
    # they are drawn
    ("canary-hidden-members", WHITE, "repetition"),
    ("canary-noisy", WHITE, "repetition"),
    # their key or their adversary is not what it is said to be
    ("canary-folded-key", WHITE, "key"),
    ("canary-wrong-key", "adaptive", "weak source (adaptive)"),
    ("canary-foreign-substitute", "adaptive", "family (adaptive)"),
    ("canary-plain-substitute", "adaptive", "family (adaptive)"),
]
HONEST = [
    ("plain", WHITE, ()),
    ("honest-cnn", WHITE, ()),
    ("honest-tanh", WHITE, ()),
    ("honest-eight-draws", WHITE, ()),
    ("honest-dropping", WHITE, ()),
    ("honest-half-precision", WHITE, ()),
    ("honest-adversarial", WHITE, ()),
    ("honest-adversarial-perceptron", WHITE, ()),
    ("key-full", "adaptive", ()),
    ("key-lora", "adaptive", ()),
    ("plain", WHITE, ("profile.dataset=parity", "profile.classes=2")),
    ("key-full", "adaptive", RESNET),
]
CHEAP = (
    "canary-hair",
    "canary-hair radius=0.15 every=2",
    "canary-first-label",
    "canary-reversed-near",
    "canary-squeezing",
)


def record_of(cli, name, threat, settings=()):
    """The record of a run of a defense, with its options after its name; None if the run is refused."""
    defense, *options = name.split()
    settings = settings if "resnet" in " ".join(settings) else (*SMALL, *settings)
    pairs = [*settings, *TUNED, *(f"defense.{option}" for option in options)]
    sets = [word for pair in pairs for word in ("--set", pair)]
    done = cli("run", "--defense", defense, "--threat", threat, *SHORT, *sets, "--json")
    if done.code == REFUSED and "gradient" in done.err:
        return None
    assert done.out, done.err
    return json.loads(done.out)


def failed(record):
    return [found["check"] for found in record["audit"] if found["status"] == Status.FAIL] if record else ["gradient"]


def line(name, record):
    if record is None:
        return f"{name:45}        refused       no gradient to attack\n"
    robust = record["metrics"]["robust_accuracy"]
    said = ", ".join(failed(record)) or "no check fails"
    return f"{name:45} {robust:6.0%} {'eligible' if record['eligible'] else 'not eligible':13} {said}\n"


def say(capsys, name, record):
    """A line of the table, at once."""
    with capsys.disabled():
        sys.stdout.write(line(name, record))
        sys.stdout.flush()


@pytest.mark.parametrize(("name", "threat", "check"), [b for b in BROKEN if b[0] in CHEAP])
def test_a_broken_defense_gets_no_eligible_record(cli, name, threat, check):
    record = record_of(cli, name, threat)
    assert not record["eligible"]
    assert check in failed(record)


@pytest.mark.parametrize(("name", "threat", "settings"), HONEST[:2])
def test_an_honest_defense_does(cli, name, threat, settings):
    record = record_of(cli, name, threat, settings)
    assert failed(record) == []
    assert record["eligible"]


@pytest.mark.slow
def test_none_of_all_the_broken_is_eligible_and_none_of_the_honest_flagged(cli, capsys):
    broken, honest = {}, {}
    for name, threat, check in BROKEN:
        broken[name] = check, record_of(cli, name, threat)
        say(capsys, name, broken[name][1])
    for name, threat, settings in HONEST:
        whole = f"{name} {' '.join(settings)[:24]}".strip()
        honest[whole] = record_of(cli, name, threat, settings)
        say(capsys, whole, honest[whole])
    plain = honest["plain"]["metrics"]["robust_accuracy"]
    eligible = {name: record for name, (_, record) in broken.items() if record and record["eligible"]}
    assert [name for name, record in eligible.items() if record["metrics"]["robust_accuracy"] > plain] == []
    assert [name for name in eligible if broken[name][0] != JUDGED_RIGHT] == []
    assert [name for name, (check, record) in broken.items() if check not in (JUDGED_RIGHT, *failed(record))] == []
    assert [name for name, record in honest.items() if failed(record) or not record["eligible"]] == []

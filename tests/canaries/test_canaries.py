"""Every canary fails, for its own reason; every honest model passes. The checks do not know their names."""

import json

import pytest

from bench.checks.battery import Finding, Status
from bench.core.budget import Norm

# The first sentence of the list of broken defenses: name, the check that must fail, words of its sentence.
EIGHT = [
    ("canary-folded-key", "key", "undefended model's logits"),
    ("canary-wrong-key", "weak source (adaptive)", "say nothing about the target"),
    ("canary-scaled-logits", "saturation", "cross-entropy's gradient underflows at"),
    ("canary-quantised", "gradient", "is zero at"),
    ("canary-k-wta", "jumps", "the output jumps"),
    ("canary-noisy", "repetition", "change their answer"),
    ("canary-resized", "repetition", "change their answer"),
    ("canary-train-mode", "batch", "depends on the rest of the batch"),
    ("canary-adapting", "state", "hidden state"),
    ("canary-remembering", "state", "hidden state"),
]
# Others in the wild; the cheap form is enough for them.
MORE = [
    ("canary-quantised", "jumps", "the output jumps"),
    ("canary-k-wta", "rise", "does not describe the model"),
    ("canary-train-mode", "mode", "in training mode"),
    ("canary-batch-statistics", "batch", "depends on the rest of the batch"),
    ("canary-detached", "gradient", "is missing at"),
    ("canary-rounded", "gradient", "is zero at"),
    ("canary-nan-gradient", "gradient", "is not finite at"),
    ("canary-softmax", "outputs", "probabilities"),
    ("canary-cool-log-softmax", "saturation", "cross-entropy's gradient underflows at"),
    ("canary-reject", "outputs", "extra class"),
    ("canary-own-maximum", "range", "silently rescaled"),
    ("canary-batch-maximum", "batch", "beside bright images"),
    ("canary-standardised", "range", "silently rescaled"),
    ("canary-bytes", "range", "255 times"),
    ("canary-jpeg", "gradient", "is zero at"),
    ("canary-thermometer", "gradient", "is missing at"),
    ("canary-one-hot", "outputs", "returns labels, not logits"),
    ("canary-straight-through", "rise", "does not describe the model"),
    ("canary-partly-cut", "rise", "does not describe the model"),
    ("canary-flipped", "rise", "no better than random at 16"),
    ("canary-watchful", "mode", "detects the attack"),
    ("canary-cached", "state", "hidden state"),
    ("canary-near-cache", "gradient", "is zero at"),
    ("canary-memorised", "memory", "was trained on the test images"),
    ("canary-exact-test", "memory", "was trained on the test images"),
    ("canary-exact-test", "jumps", "the output jumps"),
    ("canary-offset", "outputs", "rounding destroys"),
    ("canary-coarse-logits", "jumps", "the output jumps"),
    ("canary-pixel-hash", "jumps", "the output jumps"),
    ("canary-writing", "state", "writes to its input images"),
    ("canary-smooth-vote", "gradient", "is missing at"),
]
# Named by what stands around them: only the whole battery sees them.
DEEP = [
    ("canary-disguised-key", "key", "of the answers repeat its mistake"),
    ("canary-nearest-test", "large eps", "does not follow the model"),
]


def failed(found: dict[str, Finding]) -> set[str]:
    return {name for name, finding in found.items() if finding.status is Status.FAIL}


HONEST = ["plain", "key-full", "key-lora", "key-partial", "honest-adversarial", "honest-cnn", "honest-wrapped"]


WHOLE = (
    "canary-folded-key",
    "canary-disguised-key",
    "canary-quantised",
    "canary-noisy",
    "canary-k-wta",
    "canary-nearest-test",
)


@pytest.mark.parametrize(
    ("name", "check", "words"),
    [pytest.param(*c, marks=() if c[0] in WHOLE else pytest.mark.slow) for c in EIGHT + DEEP],
)
def test_the_battery_fails_a_canary_for_its_own_reason(lab, name, check, words):
    found = lab.found(name)
    assert found[check].status is Status.FAIL, found[check]
    assert words in found[check].meaning


@pytest.mark.parametrize(("name", "check", "words"), [c for c in EIGHT if c[1] != "large eps"] + MORE)
def test_the_cheap_form_fails_it_too(lab, name, check, words):
    found = lab.quickly(name)
    assert found[check].status is Status.FAIL, found[check]
    assert words in found[check].meaning


@pytest.mark.parametrize("name", HONEST)
def test_the_cheap_form_fails_no_honest_model(lab, name):
    assert not failed(lab.quickly(name))


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow if n in ("key-lora", "honest-wrapped") else ()) for n in HONEST],
)
def test_nor_does_the_whole_battery(lab, name):
    assert not failed(lab.found(name))


@pytest.mark.slow
@pytest.mark.parametrize("norm", [Norm.L2, Norm.L1])
@pytest.mark.parametrize("name", ["honest-adversarial", "key-full"])
def test_nor_under_another_norm(lab, name, norm):
    assert not failed(lab.found(name, norm=norm))


def test_a_canary_fails_for_nothing_that_only_follows_from_its_fault(lab):
    """Noise changes every answer: comparisons of answers are left out, not failed for reasons that are not so."""
    assert failed(lab.found("canary-noisy")) <= {"repetition", "black-box", "large eps", "losses"}
    assert failed(lab.found("canary-folded-key")) == {"key"}
    assert failed(lab.quickly("canary-wrong-key")) == {"weak source (adaptive)"}
    assert lab.found("canary-noisy")["jumps"].status is Status.SKIPPED


def test_a_finite_random_ensemble_is_a_warning_with_its_exact_average(lab):
    found = lab.quickly("honest-members")
    assert not failed(found)
    assert found["ensemble"].status is Status.WARN


@pytest.mark.slow
@pytest.mark.parametrize(("name", "how"), [("honest-members", {}), ("key-partial", {"embeddings": 2})])
def test_the_whole_battery_does_not_fail_it_either(lab, name, how):
    assert not failed(lab.found(name, **how))
    answer = lab.answers(name, **how)["exact average"]
    assert answer.after <= answer.before


def test_findings_do_not_change_when_measured_again(lab):
    assert lab.quickly("key-full") == lab.quickly("key-full")
    assert lab.quickly("canary-quantised") == lab.quickly("canary-quantised")


def test_an_adaptive_answer_breaks_what_only_hid(lab):
    """Identity in place of the rounding; cross-entropy in place of the saturated one; a copy in evaluation mode."""
    quantised = lab.answers("canary-quantised")
    assert quantised["BPDA, identity"].before > 0.6
    assert quantised["BPDA, identity"].after < 0.1
    assert quantised["fitted surrogate"].after < 0.5
    scaled = lab.answers("canary-scaled-logits")
    assert scaled["margin loss"].before > 0.5
    assert scaled["margin loss"].after < 0.1
    assert scaled["rescaled logits"].after < 0.1
    assert lab.answers("canary-noisy")["EOT, 16 calls"].after < 0.1


SMALL = ("profile.base.arguments.embed_dim=32", "profile.base.arguments.depth=2", "profile.base.recipe.steps=250")
ARGUMENTS = ["--images", "16", *(word for pair in SMALL for word in ("--set", pair))]


def test_the_command_says_so_and_keeps_a_record(cli, lab, tmp_path):
    done = cli("audit", "--defense", "canary-quantised", *ARGUMENTS, "--json")
    assert done.code == 1
    record = json.loads(done.out)
    assert not record["reliable"]
    kept = tmp_path / "results" / record["audit_id"] / "audit.json"
    assert {k: v for k, v in json.loads(kept.read_text()).items() if k != "sha256"} == record
    again = cli("audit", "--defense", "canary-quantised", *ARGUMENTS)
    assert again.code == 1
    assert "verdict: unreliable: gradient" in again.out
    assert "BPDA, identity" in again.out


def test_and_passes_the_undefended_model(cli, lab):
    done = cli("audit", "--defense", "plain", *ARGUMENTS)
    assert done.code == 0, done.out
    assert "verdict: no check failed" in done.out


@pytest.mark.parametrize(("flags", "words"), [(["--images", "3"], "--images is 3"), (["--eps", "0"], "eps is 0")])
def test_bad_input_is_one_line(cli, flags, words):
    done = cli("audit", "--defense", "plain", *flags)
    assert done.code == 2
    assert words in done.err
    assert done.err.count("\n") == 1

"""A model that tells the judge from the attack gets no figure that counts; an honest one is never blamed for it."""

import json

import pytest

SMALL = ("--set", "profile.base.arguments.embed_dim=32", "--set", "profile.base.arguments.depth=2", "--set",
         "profile.base.recipe.steps=250", "--eps", "0.1", "--limit", "40", "--json")  # fmt: skip
APGD = ("--attack", "autoattack", "--set", "attack.version=custom", "--set", "attack.attacks=[apgd-ce]", "--set",
        "attack.iterations=20")  # fmt: skip
WHOLE = pytest.mark.slow


def record_of(cli, defense, *words, threat="white-box", attack=APGD):
    done = cli("run", "--defense", defense, "--threat", threat, *attack, *SMALL, *words)
    assert done.code in (0, 1), done.err  # 1: unreliable
    return json.loads(done.out)


def judge_of(record):
    return {found["check"]: found for found in record["audit"]}["judge"]


def signed(sign):
    return ("--set", f"defense.sign={sign}")


@pytest.mark.parametrize(
    "sign",
    [
        "batch-shape",
        *(pytest.param(s, marks=WHOLE) for s in ("any-64", "grad-mode", "no-attack", "module-name", "argv")),
    ],
)
def test_a_model_that_tells_the_judge_from_the_attack_is_found(cli, outsiders, sign):
    record = record_of(cli, "cunning", *signed(sign))
    assert record["provenance"]["isolated"] is True
    found = judge_of(record)
    told_apart = found["status"] == "fail" and not record["reliable"] and not record["eligible"]
    assert told_apart or record["metrics"]["robust_accuracy"] <= 0.1, found


def test_the_reason_is_right(cli, outsiders):
    record = record_of(cli, "cunning", *signed("any-64"), "--no-isolate")
    assert "answers the judge otherwise than the attack" in judge_of(record)["meaning"]
    assert "fooled the attack's model and not the judge's" in judge_of(record)["meaning"]
    assert record["metrics"]["robust_accuracy"] > 0.5  # the lie that must not count
    assert any("unreliable: judge" in reason["text"] for reason in record["ineligible_because"])
    assert any(f["check"] == "isolation" and f["status"] == "fail" for f in record["audit"])


@pytest.mark.parametrize("sign", ["file-name", pytest.param("function-name", marks=WHOLE)])
def test_no_frame_of_the_judge_is_on_the_stack_of_an_isolated_model(cli, outsiders, sign):
    record = record_of(cli, "cunning", *signed(sign))
    assert record["metrics"]["robust_accuracy"] <= 0.1 or judge_of(record)["status"] == "fail"


@WHOLE
def test_a_flag_that_the_judge_leaves_does_not_help(cli, outsiders):
    record = record_of(cli, "cunning", *signed("global-flag"))
    assert not record["reliable"]
    assert not record["eligible"]


@WHOLE
def test_square_is_compared_too(cli, outsiders):
    record = record_of(cli, "cunning", *signed("no-attack"), "--no-isolate", threat="query-score",
                       attack=("--attack", "square", "--set", "attack.queries=300"))  # fmt: skip
    assert judge_of(record)["status"] == "fail"


def test_a_first_label_is_not_kept_where_the_judge_asks(cli, outsiders):
    record = record_of(cli, "first-label", attack=("--attack", "pgd", "--set", "attack.steps=10"))
    assert record["metrics"]["robust_accuracy"] <= 0.1 or not record["reliable"]


@pytest.mark.parametrize(
    "kind", ["bfloat16", *(pytest.param(k, marks=WHOLE) for k in ("plain", "batch-norm", "dropout", "smoothed"))]
)
def test_an_honest_model_from_outside_is_not_blamed(cli, outsiders, kind):
    record = record_of(cli, "honest-kinds", "--set", f"defense.kind={kind}")
    assert record["provenance"]["isolated"] is True
    assert judge_of(record)["status"] == "pass", judge_of(record)


@WHOLE
def test_a_keyed_model_has_the_same_verdicts_in_a_process_of_its_own(cli, forget_images):
    short = ("--set", "profile.recipes.lora.steps=100")
    here = record_of(cli, "key-lora", *short)
    apart = record_of(cli, "key-lora", *short, "--isolate", "--results", "other")
    assert (here["provenance"]["isolated"], apart["provenance"]["isolated"]) == (False, True)
    assert here["digests"] == apart["digests"]
    assert judge_of(here)["status"] == judge_of(apart)["status"] == "pass"

"""`bench ladder`: every tier on the same images, the worst case of each image, and what is left out."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from bench.core.tiers import TIERS
from bench.store.ladders import LadderRecord

SHORT = ("--limit", "30")
RUNGS = {
    "name": "small",
    "summary": "a rung of most tiers",
    "rungs": [
        {"threat": "white-box", "attack": "pgd", "set": {"attack.steps": 20}},  # sorted by tier, not as written
        {"threat": "non-adaptive", "attack": "mi"},
        {"threat": "adaptive", "attack": "pgd", "set": {"attack.steps": 10}},
        {"threat": "adaptive", "attack": "mi"},
        {"threat": "query-score", "set": {"threat.queries": 300}},
        {"threat": "query-decision", "set": {"threat.queries": 100}},
        {"threat": "leaked-weights", "attack": "pgd", "set": {"threat.how": "key-search", "attack.steps": 10}},
    ],
    "paper": [{"threat": "non-adaptive", "protocol": "paper", "attack": "pgd", "set": {"attack.steps": 5}}],
}


def ladder_file(content=RUNGS) -> str:
    Path("rungs.yaml").write_text(yaml.safe_dump(content))
    return "rungs.yaml"


def robust(run_id: str) -> pd.Series:
    rows = pd.read_parquet(Path("results") / run_id / "verdicts.parquet")
    return rows.set_index("image_id").outcome == "robust"


def test_every_tier_and_the_worst_case_of_each_image(cli):
    argv = ("ladder", "--defense", "key-lora", "--ladder", ladder_file(), *SHORT)
    done = cli(*argv, "--json")
    assert done.code == 0, done.err
    record = json.loads(done.out)
    LadderRecord.model_validate(record)
    assert [rung["tier"] for rung in record["rungs"]] == ["T0", "T1", "T1+", "T2", "T2", "T4", "T5"]
    assert not record["skipped"]
    worst = None
    for rung in record["rungs"]:  # every figure again, from the verdicts alone
        own = robust(rung["run_id"])
        worst = own if worst is None else worst & own
        assert rung["robust_accuracy"] == pytest.approx(own.mean())
        assert rung["worst_so_far"] == pytest.approx(worst.mean())
        assert rung["worst_so_far"] <= rung["robust_accuracy"]
    figures = {tier["tier"]: tier for tier in record["tiers"]}
    assert list(figures) == [tier for tier in TIERS if tier in figures]
    assert figures["T5"]["up_to"] == pytest.approx(worst.mean())
    assert figures["T5"]["robust_accuracy"] <= 0.02
    assert [tier["tries"] for tier in record["tiers"]] == [1, 2, 3, 5, 6, 7]
    low = [rung["robust_accuracy"] for rung in record["rungs"][:3]]
    assert figures["T1+"]["best_single"] == pytest.approx(min(low))
    assert figures["T1+"]["up_to"] <= figures["T1+"]["best_single"]
    assert all(rung["controls"]["noise"] >= 0.5 for rung in record["rungs"])
    breaks = [t for t in record["tiers"] if t["up_to"] < record["broken_below"] * record["clean_accuracy"]]
    assert record["first_break"] == breaks[0]["tier"]
    (paper,) = record["paper"]
    assert paper["worst_so_far"] is None
    assert paper["run_id"] not in {rung["run_id"] for rung in record["rungs"]}
    told = json.loads(cli("results", "show", paper["run_id"], "--json").out)
    assert told["spec"]["protocol"] == "paper"

    asked = json.loads(cli("results", "show", record["rungs"][3]["run_id"], "--json").out)
    assert asked["adversary"]["access"] == "scores"
    assert asked["adversary"]["queries"] == 300
    assert asked["cost"]["source_forwards"] <= 300 * record["images"]
    assert asked["cost"]["source_backwards"] == 0

    again = cli(*argv, "--json")
    same = json.loads(again.out)
    assert same["ladder_id"] == record["ladder_id"]
    assert {**same, "seconds": 0} == {**record, "seconds": 0}
    shown = cli(*argv)
    for text in ("worst so far", "first broken by", "protocol paper", "per-image worst case", "clean accuracy"):
        assert text in shown.out


def test_what_makes_no_sense_is_left_out_and_named(cli):
    rungs = [
        {"threat": "non-adaptive", "attack": "pgd"},
        {"threat": "adaptive", "attack": "pgd"},
        {"threat": "cross-key", "attack": "pgd"},
        {"threat": "leaked-weights", "attack": "pgd"},
        {"threat": "white-box", "attack": "pgd"},
    ]
    file = ladder_file({**RUNGS, "rungs": rungs, "paper": []})
    done = cli("ladder", "--defense", "plain", "--ladder", file, *SHORT, "--json")
    record = json.loads(done.out)
    assert [rung["threat"]["name"] for rung in record["rungs"]] == ["non-adaptive", "white-box"]
    assert [rung["tier"] for rung in record["rungs"]] == ["T5", "T5"]  # its source is the deployed model itself
    assert record["first_break"] == "T5"
    why = {item["threat"]["name"]: item["why"] for item in record["skipped"]}
    assert "its source is that of non-adaptive" in why["adaptive"]
    assert "plain has no key" in why["cross-key"]
    assert "keeps no key apart from its weights" in why["leaked-weights"]


BAD = {
    "no such ladder": (("--ladder", "standart"), r"unknown ladder 'standart'.*did you mean standard"),
    "no such file": (("--ladder", "none.yaml"), r"ladder file 'none.yaml' does not exist"),
    "a setting of one rung": (("--set", "attack.steps=3"), r"'attack.steps' belongs to one rung"),
    "an unknown threat": (("--ladder", "bad.yaml"), r"unknown threat 'adaptiv'"),
    "a bad option of a late rung": (("--ladder", "late.yaml"), r"option of white-box|white-box has no option"),
    "no such defense": (("--defense", "nope"), r"unknown defense 'nope'"),
    "an unknown field": (("--ladder", "field.yaml"), r"rungs.0.atack"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(cli, name):
    Path("bad.yaml").write_text(yaml.safe_dump({**RUNGS, "rungs": [{"threat": "adaptiv"}]}))
    Path("field.yaml").write_text(yaml.safe_dump({**RUNGS, "rungs": [{"threat": "adaptive", "atack": "pgd"}]}))
    late = {"threat": "white-box", "set": {"threat.queries": 0}}
    Path("late.yaml").write_text(yaml.safe_dump({**RUNGS, "rungs": [*RUNGS["rungs"][1:], late]}))
    argv, expected = BAD[name]
    done = cli("ladder", "--defense", "key-lora", *argv)
    assert done.code == 2
    assert len(done.err.strip().splitlines()) == 1
    assert not Path("results").exists() or not list(Path("results").glob("*/ladder.json"))
    import re

    assert re.search(expected, done.err), done.err


@pytest.mark.slow
@pytest.mark.parametrize("defense", ["plain", "key-full", "key-lora"])
def test_the_standard_ladder_closes_the_truth_gap(cli, defense):
    """On digits: up to T1+ at most 15% is left, under score queries and in the white box at most 2%."""
    done = cli("ladder", "--defense", defense, "--limit", "300", "--json")
    assert done.code == 0, done.err
    record = json.loads(done.out)
    tiers = {tier["tier"]: tier for tier in record["tiers"]}
    assert tiers["T5"]["robust_accuracy"] <= 0.02
    scores = [rung["robust_accuracy"] for rung in record["rungs"] if rung["threat"]["name"] == "query-score"]
    assert scores
    assert max(scores) <= 0.02
    assert tiers["T1+" if "T1+" in tiers else "T0"]["up_to"] <= 0.15
    assert all(rung["worst_so_far"] <= rung["robust_accuracy"] for rung in record["rungs"])
    if defense != "plain":
        paper = max(rung["robust_accuracy"] for rung in record["paper"])
        assert paper - tiers["T1+"]["up_to"] >= 0.25  # what the weak evaluation would have claimed
        leaked = [rung["robust_accuracy"] for rung in record["rungs"] if rung["threat"]["name"] == "leaked-weights"]
        assert min(leaked) - tiers["T5"]["robust_accuracy"] <= 0.05

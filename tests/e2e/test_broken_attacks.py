"""Broken attacks, as outsiders' plug-ins: none can make a defense look better, all show."""

import json
from pathlib import Path

import pandas as pd
import pytest

pytestmark = pytest.mark.usefixtures("outsiders")
RUN = ("run", "--defense", "plain", "--threat", "white-box", "--limit", "30")


@pytest.mark.parametrize(
    ("attack", "outcome"),
    [
        ("out-of-budget", "invalid"),
        ("out-of-box", "invalid"),
        ("not-a-number", "invalid"),
        ("in-place", "invalid"),
        ("raising", "error"),
        ("wrong-shape", "error"),
    ],
)
def test_outcome_table_record_and_exit_code_say_so(cli, attack, outcome):
    done = cli(*RUN, "--attack", attack, "--protocol", "paper")
    assert done.code == 1
    assert "not eligible for the leaderboard" in done.out
    (path,) = Path("results").glob("*/record.json")
    record = json.loads(path.read_text())
    rows = pd.read_parquet(path.with_name("verdicts.parquet"))
    assert f"{outcome} {record['metrics']['outcomes'][outcome]}" in done.out
    assert record["metrics"]["outcomes"][outcome] >= 28
    assert record["eligible"] is False
    assert record["metrics"]["robust_accuracy"] == 0
    assert record["metrics"]["outcomes"]["fooled"] == 0
    attacked = rows[rows.attack != "none"]
    assert len(attacked) >= 28
    assert (attacked.outcome == outcome).all()


def test_the_fallback_does_not_hide_an_attack_that_raised(cli):
    done = cli(*RUN, "--attack", "raising", "--json")
    assert done.code == 1
    record = json.loads(done.out)
    assert record["metrics"]["outcomes"]["error"] == 30
    assert any("ArithmeticError: this attack is broken" in w for w in record["warnings"])


def test_images_whose_attack_raised_are_tried_again(cli):
    argv = (*RUN, "--attack", "raising-once", "--set", "attack.until=now", "--json")
    assert cli(*argv).code == 1
    assert cli(*argv).code == 1
    Path("now").write_text("")
    done = cli(*argv)
    assert done.code == 0
    assert json.loads(done.out)["metrics"]["outcomes"]["error"] == 0

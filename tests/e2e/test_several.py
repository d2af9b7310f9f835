"""Several keys, an early end, and the battery inside every run."""

import json
from pathlib import Path

import pandas as pd
import pytest

from bench.checks.statistics import ConfidenceSequence, across_keys
from tests.submissions import unsealed

SHORT = [f"profile.{r}.steps=60" for r in ("recipes.full",)]
QUICK = [part for pair in SHORT for part in ("--set", pair)]
RUN = ("run", "--defense", "key-full", "--attack", "pgd", "--set", "attack.steps=5", *QUICK)


def outcomes(run_id: str) -> pd.DataFrame:
    return pd.read_parquet(Path("results") / run_id / "verdicts.parquet")


def test_three_keys_mean_minimum_and_interval(cli):
    argv = (*RUN, "--threat", "white-box", "--eps", "0.03", "--keys", "3", "--limit", "40")
    done = cli(*argv, "--json")
    assert done.code == 0, done.err
    record = json.loads(done.out)
    assert [run["seed"] for run in record["runs"]] == [0, 1, 2]
    table = [(outcomes(run["run_id"]).outcome == "robust").tolist() for run in record["runs"]]
    figures = [sum(row) / len(row) for row in table]
    assert [run["robust_accuracy"] for run in record["runs"]] == pytest.approx(figures)
    assert record["mean"] == pytest.approx(sum(figures) / 3)
    assert record["minimum"] == min(figures)
    again = across_keys(table, seed=0)
    assert tuple(record["interval"]) == again.interval
    assert record["interval"][0] <= record["mean"] <= record["interval"][1]
    prints = {json.loads(cli("results", "show", r["run_id"], "--json").out)["spec"]["key"]["fingerprint"]
              for r in record["runs"]}  # fmt: skip
    assert len(prints) == 3
    shown = cli(*argv)
    assert "mean over keys" in shown.out
    assert "worst key" in shown.out
    (kept,) = Path("results").glob("*/keys.json")
    assert unsealed(kept) == record


def test_a_run_ends_once_its_interval_is_narrow_enough(cli):
    argv = ("run", "--defense", "plain", "--threat", "white-box", "--attack", "pgd", "--set", "attack.steps=5")
    argv = (*argv, "--eps", "0.02", "--set", "profile.shard_size=20")
    done = cli(*argv, "--stop-at-precision", "8", "--json")
    assert done.code == 0, done.err
    record = json.loads(done.out)
    n, metrics = record["metrics"]["images"], record["metrics"]
    assert record["population"] == 500
    assert n < 500
    assert n % 20 == 0
    robust = metrics["outcomes"]["robust"]
    rule = ConfidenceSequence(8.0, population=500)
    low, high = metrics["robust_accuracy_interval"]
    assert (low, high) == rule.interval(robust, n)
    assert (high - low) / 2 <= 0.08
    rows = outcomes(record["run_id"])
    earlier = rows.head(n - 20)
    assert not rule.done(int((earlier.outcome == "robust").sum()), n - 20)  # it did not go on for longer than it had to
    assert any("the run stopped after" in note for note in record["notes"])
    whole = json.loads(cli(*argv, "--json").out)
    first = outcomes(whole["run_id"]).image_id
    assert rows.image_id.tolist() != first.head(n).tolist()  # in random order
    both = rows.merge(outcomes(whole["run_id"]), on="image_id")
    assert (both.outcome_x == both.outcome_y).all()
    assert low <= whole["metrics"]["robust_accuracy"] <= high
    assert "every verdict confirmed" in cli("results", "verify", record["run_id"]).out


def test_a_run_that_is_never_precise_enough_judges_all(cli):
    argv = ("run", "--defense", "plain", "--threat", "white-box", "--attack", "pgd", "--set", "attack.steps=5")
    done = cli(*argv, "--eps", "0.02", "--limit", "60", "--stop-at-precision", "0.5", "--json")
    record = json.loads(done.out)
    assert record["metrics"]["images"] == record["population"] == 60
    low, high = record["metrics"]["robust_accuracy_interval"]
    assert high - low > 0.05
    assert any("all 60 images were judged before" in note for note in record["notes"])


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--keys", "2", "--stop-at-precision", "5"), "expected one of the two"),
        (("--keys", "2", "--key", "gus"), "--key names one key"),
        (("--stop-at-precision", "0"), "expected percentage points above 0"),
        (("--stop-at-precision", "70"), "expected percentage points above 0"),
    ],
)
def test_bad_input_is_one_line(cli, home, argv, said):
    if "gus" in argv:
        cli("key", "new", "gus")
    done = cli(*RUN, "--threat", "white-box", "--limit", "10", *argv)
    (home / "keys" / "gus.key").unlink(missing_ok=True)
    assert done.code == 2
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_an_attack_that_needs_more_than_the_source_gives_is_refused(cli):
    done = cli("run", "--defense", "plain", "--threat", "query-score", "--attack", "autoattack")
    assert done.code == 2
    assert "attack autoattack needs gradients of its source, threat query-score gives scores; expected" in done.err
    assert "square" in done.err
    done = cli("run", "--defense", "plain", "--threat", "query-decision", "--attack", "square")
    assert done.code == 2
    assert "rays" in done.err


def test_a_source_at_chance_makes_no_headline(cli):
    """A substitute after one step of training: the row is marked, and the ladder gives its tier no figure."""
    base = ("--set", "profile.base.recipe.steps=1", "--set", "profile.recipes.full.steps=150", "--limit", "40")
    done = cli("run", "--defense", "key-full", "--threat", "non-adaptive", "--attack", "pgd", *base, "--json")
    record = json.loads(done.out)
    assert record["metrics"]["source_clean_accuracy"] < 0.5 * record["metrics"]["clean_accuracy"]
    assert done.code == 1
    assert not record["eligible"]
    assert [why["code"] for why in record["ineligible_because"]] == ["weak-source"]
    Path("weak.yaml").write_text("name: weak\nsummary: ''\nrungs: [{threat: non-adaptive, attack: pgd}]\n")
    done = cli("ladder", "--defense", "key-full", "--ladder", "weak.yaml", *base)
    assert "source too weak" in done.out
    assert "no usable source" in done.out

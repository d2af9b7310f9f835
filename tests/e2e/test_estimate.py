"""Runs in two phases: what they estimate, that their verdicts are those of the full run, and where they may appear."""

import json
from pathlib import Path

import pandas as pd
import pytest

from bench.checks.statistics import Counts, TwoPhase
from bench.core.errors import BenchError
from bench.engine.evaluation import Evaluation

RUN = (
    "run", "--defense", "plain", "--threat", "white-box", "--attack", "autoattack", "--eps", "0.02", "--limit", "60",
    "--set", "attack.iterations=3", "--set", "attack.queries=10", "--set", "attack.targets=2",
    "--set", "fallback.steps=3", "--set", "profile.shard_size=10",
)  # fmt: skip


def verdicts(run_id: str) -> pd.DataFrame:
    return pd.read_parquet(Path("results") / run_id / "verdicts.parquet").set_index("image_id")


@pytest.fixture
def estimated(cli):
    done = cli(*RUN, "--estimate", "12", "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_verdicts_are_those_of_the_full_run_and_the_interval_holds_it(cli, estimated):
    full = json.loads(cli(*RUN, "--json").out)
    ours, whole = verdicts(estimated["run_id"]), verdicts(full["run_id"])
    assert ours.index.tolist() == whole.index.tolist()
    assert estimated["digests"]["data"] == full["digests"]["data"]
    final = (ours.phase == 2) | (ours.outcome != "robust")
    pd.testing.assert_series_equal(ours[final].outcome, whole[final].outcome)
    final_image = final & (ours.outcome != "misclassified")  # the fallback moves those, too, and decides nothing
    for name in ("adversarial_prediction", "distance", "attack"):
        pd.testing.assert_series_equal(ours[final_image][name], whole[final_image][name])
    unknown = ours[~final]
    assert len(unknown)  # it did not judge everything
    assert set(unknown.phase) == {1}
    found = estimated["metrics"]["estimate"]
    sampled = ours.phase == 2
    survivors = sampled | (ours.outcome == "robust")
    counts = Counts(60, int(survivors.sum()), int(sampled.sum()), int((ours[sampled].outcome != "robust").sum()))
    assert [found[name] for name in ("n1", "survivors", "n2", "fell")] == list(counts)
    assert (found["low"], found["high"]) == TwoPhase(12).interval(counts)
    assert (found["high"] - found["low"]) / 2 <= 0.12
    assert found["low"] <= full["metrics"]["robust_accuracy"] <= found["high"]
    cost, most = (record["cost"]["source_forwards"] for record in (estimated, full))
    assert cost < most
    compared = cli("results", "compare", estimated["run_id"], full["run_id"])
    assert compared.code == 2
    assert "is estimated" in compared.err


def test_it_is_confirmed_by_the_judge_and_listed_as_an_estimate(cli, estimated):
    run_id = estimated["run_id"]
    assert not estimated["eligible"]
    assert [why["code"] for why in estimated["ineligible_because"]] == ["estimated"]
    said = f"n2 = {estimated['metrics']['estimate']['n2']}"
    assert said in cli("results", "show", run_id).out
    assert '"estimate"' in cli("results", "list", "--json").out
    assert "every verdict confirmed" in cli("results", "verify", run_id).out
    again = cli(*RUN, "--estimate", "12")
    assert "complete already" in again.err


def test_a_run_that_ended_early_goes_on_where_it_was(cli, estimated, monkeypatch):
    """The second phase ends early once: the finished ones are kept, and the record is the same."""

    shard, made = Evaluation.shard, []

    def once(self, index):
        made.append(index)
        if index == 6 and made.count(6) == 1:
            raise BenchError("the disk is full")
        return shard(self, index)

    monkeypatch.setattr(Evaluation, "shard", once)
    other = (*RUN, "--estimate", "12", "--results", "other", "--json")
    assert cli(*other).code != 0
    record = json.loads(cli(*other).out)
    assert made.count(0) == 1
    assert record["metrics"] == estimated["metrics"]
    assert record["digests"]["verdicts"] == estimated["digests"]["verdicts"]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--estimate", "0"), "--estimate is 0; expected percentage points above 0 and below 50"),
        (("--estimate", "1", "--stop-at-precision", "2"), "cannot be combined with --stop-at-precision"),
        (("--estimate", "1", "--set", "attack.mode=budget"), "declares no cheap first part"),
        (("--estimate", "1", "--eps", "0"), "eps is 0"),
        (("--estimate", "1", "--defense", "key-full", "--threat", "non-adaptive",
          "--set", "profile.recipes.full.steps=2"), "needs the target itself as source"),
    ],
)  # fmt: skip
def test_what_it_cannot_estimate_is_refused_in_one_line(cli, argv, said):
    done = cli(*RUN, *argv)
    assert done.code == 2
    assert said in done.err.splitlines()[-1]
    assert not list(Path("results").glob("*/record.json"))

"""The main job, from the command line, on real digits with real models and the official AutoAttack."""

import json
import os
import signal
import time
from pathlib import Path

import pandas as pd
import pytest
from pydantic import ValidationError

from bench.store.record import Record
from bench.store.runs import RunStore
from bench.store.verdicts import rows_digest

SHORT_ENGINE = (
    "--set",
    "attack.version=custom",
    "--set",
    "attack.attacks=[apgd-ce,square]",
    "--set",
    "attack.queries=50",
)
ADAPTIVE = ("run", "--defense", "key-lora", "--threat", "adaptive")


def record_of(done, code=0) -> dict:
    assert done.code == code, done.err
    return json.loads(done.out)


def verdicts(results: str, run_id: str) -> pd.DataFrame:
    return pd.read_parquet(Path(results) / run_id / "verdicts.parquet")


def test_the_demo_from_nothing_to_a_verified_record(cli):
    done = cli(*ADAPTIVE)
    assert done.code == 0, done.err
    for text in ("robust accuracy", "<= ", "95% interval", "outcomes", "seconds", "record.json"):
        assert text in done.out
    (run_id,) = os.listdir("results")
    record = Record.model_validate_json((Path("results") / run_id / "record.json").read_bytes())
    assert record.eligible
    assert record.metrics.clean_accuracy >= 0.95
    assert record.metrics.source_clean_accuracy >= 0.95
    assert record.metrics.robust_accuracy < record.metrics.clean_accuracy

    rows = verdicts("results", run_id)
    assert len(rows) == record.metrics.images == 500
    assert rows.image_id.is_unique
    assert (rows.outcome == "robust").mean() == record.metrics.robust_accuracy
    assert (rows.clean_prediction == rows.label).mean() == record.metrics.clean_accuracy
    assert (rows.source_prediction == rows.label).mean() == record.metrics.source_clean_accuracy
    fooled = rows[rows.outcome == "fooled"]
    assert (fooled.adversarial_prediction != fooled.label).all()
    assert (rows.distance <= 0.1 + 1e-6).all()
    assert (rows.distance > 0).all()  # strict: every image was attacked
    assert not (Path("results") / run_id / "shards").exists()

    again = cli(*ADAPTIVE)
    assert again.code == 0
    assert "complete already" in again.err
    assert again.out == done.out

    assert "every verdict confirmed" in cli("results", "verify", run_id[:6]).out
    assert run_id in cli("results", "list").out
    assert record_of(cli("results", "show", run_id, "--json"))["run_id"] == run_id


def test_json_is_all_there_is_on_standard_output(cli):
    done = cli(*ADAPTIVE, "--attack", "pgd", "--limit", "20", "--json")
    assert json.loads(done.out)["spec"]["limit"] == 20
    assert "attack and judge" in done.err


@pytest.mark.parametrize("defense", ["plain", "key-full", "key-lora"])
def test_white_box_is_the_positive_control(cli, defense):
    record = record_of(cli("run", "--defense", defense, "--threat", "white-box", "--limit", "100", "--json"))
    assert record["metrics"]["clean_accuracy"] >= 0.95
    assert record["metrics"]["robust_accuracy"] <= 0.02


def test_the_undefended_base_is_accurate(cli):
    """On the whole test split; eps 0 gives exactly the clean accuracy."""
    record = record_of(cli("run", "--defense", "plain", "--threat", "white-box", "--eps", "0", "--json"))
    metrics = record["metrics"]
    assert metrics["clean_accuracy"] >= 0.97
    assert metrics["robust_accuracy"] == metrics["clean_accuracy"]
    assert record["cost"]["source_forwards"] == 0


def test_non_adaptive_on_plain_is_white_box_on_plain(cli):
    rows = []
    for threat in ("white-box", "non-adaptive"):
        record = record_of(cli("run", "--defense", "plain", "--threat", threat, "--limit", "100", "--json"))
        rows.append(verdicts("results", record["run_id"]))
    pd.testing.assert_frame_equal(*rows)


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_other_norms(cli, norm):
    attack = {"l2": "autoattack", "l1": "autoattack-reference"}[norm]
    argv = ("run", "--defense", "plain", "--threat", "white-box", "--norm", norm, "--limit", "20", "--json")
    argv += ("--attack", attack)
    record = record_of(cli(*argv, "--set", "attack.version=custom", "--set", "attack.attacks=[apgd-ce]"))
    rows = verdicts("results", record["run_id"])
    radius = {"l2": 1.5, "l1": 12.0}[norm]
    assert record["metrics"]["robust_accuracy"] <= 0.1
    assert 0.5 * radius < rows.distance.max() <= radius * (1 + 1e-4)


def test_adversarial_images_are_made_once_for_a_source(cli, forget_images):
    forget_images()
    common = ("--threat", "non-adaptive", "--limit", "100", "--json")
    first = record_of(cli("run", "--defense", "key-full", *common))
    second = record_of(cli("run", "--defense", "key-lora", *common))
    assert first["cost"]["shards_reused"] == 0
    assert second["cost"]["shards_reused"] == second["cost"]["shards"]
    assert second["cost"]["source_forwards"] == first["cost"]["source_forwards"]
    assert second["digests"]["source"] == first["digests"]["source"]
    assert second["digests"]["target"] != first["digests"]["target"]


def test_strict_attacks_what_paper_leaves_clean(cli):
    """On a poor source (few training steps) many images are wrong already; paper leaves them, strict does not."""
    argv = ("run", "--defense", "key-full", "--threat", "non-adaptive", "--limit", "60", "--json")
    weak = ("--set", "profile.base.recipe.steps=60", "--set", "profile.recipes.full.steps=60")
    both = {}
    for protocol in ("paper", "strict"):
        record = record_of(cli(*argv, *weak, "--protocol", protocol))
        both[protocol] = verdicts("results", record["run_id"])
        assert any(f"protocol {protocol}" in note for note in record["notes"])
    wrong = both["paper"].source_prediction != both["paper"].label
    assert 5 < wrong.sum() < 55
    assert (both["paper"].distance[wrong] == 0).all()
    assert (both["paper"].attack[wrong] == "none").all()
    assert (both["strict"].distance > 0).all()
    assert (both["strict"].attack[wrong] == "pgd").all()
    attacked = (both["paper"].attack == "autoattack") & (both["paper"].distance > 0)
    assert (both["strict"][attacked].distance == both["paper"][attacked].distance).all()
    assert (both["strict"].outcome == "robust").sum() <= (both["paper"].outcome == "robust").sum()


@pytest.mark.parametrize("attack", [("pgd",), ("autoattack", *SHORT_ENGINE)])
def test_verdicts_do_not_depend_on_the_batch(cli, forget_images, attack):
    rows = []
    for size in ("7", "64", "100"):
        forget_images()
        argv = (*ADAPTIVE, "--attack", *attack, "--eps", "0.06", "--limit", "80", "--batch-size", size, "--json")
        record = record_of(cli(*argv, "--set", "profile.shard_size=70", "--results", f"r{size}"))
        assert record["cost"]["shards_reused"] == 0
        rows.append(verdicts(f"r{size}", record["run_id"]))
    assert 0 < (rows[0].outcome == "fooled").sum() < 80
    for other in rows[1:]:
        assert (other.outcome == rows[0].outcome).all()
        assert (other.adversarial_prediction == rows[0].adversarial_prediction).all()


def test_the_per_image_engine_is_a_white_box_too_and_says_what_it_cost(cli, forget_images):
    forget_images()
    argv = (
        "run",
        "--defense",
        "key-lora",
        "--threat",
        "white-box",
        "--attack",
        "autoattack",
        "--limit",
        "100",
    )
    record = record_of(cli(*argv, "--json"))
    assert record["metrics"]["robust_accuracy"] <= 0.02
    cost = record["cost"]
    assert [part["attack"] for part in cost["parts"]][:2] == ["clean", "apgd-ce"]
    assert cost["source_forwards"] == sum(part["forwards"] for part in cost["parts"])
    assert cost["parts"][1]["backwards"] >= 95
    assert cost["flops_forward"] > 1e6
    assert cost["flops_backward"] > 0.5 * cost["flops_forward"]
    assert 0 < cost["mfu"] < 1.5
    low = record_of(cli(*argv, "--precision", "bf16", "--json"))
    assert low["run_id"] != record["run_id"]
    assert low["metrics"]["robust_accuracy"] <= 0.02
    assert sum(part["claims"] for part in low["cost"]["parts"]) >= 95


def test_perf_times_the_engine_beside_the_official_package(cli):
    argv = ("perf", "--images", "12", "--workload", "apgd", "--steps", "10", "--eps", "0.1", "--json")
    timings = json.loads(cli(*argv).out)
    assert [t["contestant"] for t in timings] == ["bench fp32", "official"]
    assert all(t["robust"] < 0.5 and t["seconds"] > 0 and t["images"] == 12 for t in timings)
    assert "x faster" in cli(*argv[:-1]).out


def test_perf_says_what_a_device_reaches_in_every_workload(cli):
    argv = ("perf", "--images", "8", "--workload", "every", "--steps", "2", "--json")
    lines = {line["workload"]: line for line in json.loads(cli(*argv).out)}
    assert set(lines) == {"apgd", "square", "fab", "standard", "mi", "judge"}
    assert all(line["batch"] in (4, 8) and line["mfu"] > 0 for line in lines.values())
    assert lines["apgd"]["queries"] == 8 * (1 + 3)  # a clean look, the start and two steps: every image survives
    assert (lines["judge"]["queries"], lines["mi"]["queries"]) == (8, 16)
    assert "outside the model" in cli(*argv[:-1]).out
    assert cli(*argv, "--eps", "0.1").code == 2


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(cli, spawn, forget_images):
    argv = (*ADAPTIVE, "--attack", "pgd", "--limit", "200", "--set", "attack.steps=60",
            "--set", "profile.shard_size=20")  # fmt: skip
    whole = record_of(cli(*argv, "--results", "whole", "--json"))
    run_id = whole["run_id"]
    forget_images()
    shards = Path("broken") / run_id / "shards"
    process = spawn(*argv, "--results", "broken")
    deadline = time.monotonic() + 120
    while len(list(shards.glob("*.parquet"))) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    finished = len(list(shards.glob("*.parquet")))
    assert 2 <= finished < whole["cost"]["shards"]
    assert not (Path("broken") / run_id / "record.json").exists()

    again = record_of(cli(*argv, "--results", "broken", "--json"))
    assert again["cost"]["shards_resumed"] == finished
    assert again["digests"]["verdicts"] == whole["digests"]["verdicts"]
    files = [Path(r) / run_id / "verdicts.parquet" for r in ("whole", "broken")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_damaged_adversarial_images_are_named_and_made_again(cli, home, forget_images):
    forget_images()
    argv = ("run", "--defense", "plain", "--threat", "white-box", "--attack", "pgd", "--set", "attack.steps=3",
            "--limit", "20", "--json")  # fmt: skip
    first = record_of(cli(*argv, "--results", "a"))
    (path,) = (home / "cache" / "adversarial").rglob("*.images")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    again = record_of(cli(*argv, "--results", "b"))
    assert again["digests"] == first["digests"]
    assert again["warnings"] == [
        f"the stored adversarial images at {path.stem[:12]} were damaged; they were made again"
    ]
    assert again["cost"]["shards_reused"] == 0
    assert record_of(cli(*argv, "--results", "c"))["cost"]["shards_reused"] == 1


def test_the_same_command_gives_the_same_images_and_another_seed_others(cli, forget_images):
    argv = ("run", "--defense", "plain", "--threat", "white-box", "--eps", "0.04", "--limit", "40",
            "--set", "attack.queries=300", "--json")  # fmt: skip
    first = record_of(cli(*argv, "--results", "a"))
    forget_images()
    second = record_of(cli(*argv, "--results", "b"))
    assert second["cost"]["shards_reused"] == 0
    assert first["digests"] == second["digests"]
    other = record_of(cli(*argv, "--seed", "1"))
    assert other["digests"]["verdicts"] != first["digests"]["verdicts"]


def test_flags_come_from_a_file_from_the_environment_and_from_the_line(cli, monkeypatch):
    Path("c.yaml").write_text(
        "defense: plain\nthreat: white-box\nattack: pgd\nlimit: 10\nbatch-size: 5\n"
        "set: {attack.steps: 3, attack.restarts: 2}\n"
    )
    spec = record_of(cli("run", "--config", "c.yaml", "--json"))["spec"]
    assert (spec["attack"]["options"]["steps"], spec["attack"]["options"]["restarts"]) == (3, 2)
    assert (spec["limit"], spec["batch_size"]) == (10, 5)
    monkeypatch.setenv("BENCH_LIMIT", "11")
    assert record_of(cli("run", "--config", "c.yaml", "--json"))["spec"]["limit"] == 11
    assert record_of(cli("run", "--config", "c.yaml", "--limit", "12", "--json"))["spec"]["limit"] == 12


@pytest.mark.usefixtures("outsiders")
@pytest.mark.parametrize("attack", ["autoattack", "autoattack-reference"])
def test_what_autoattack_warns_of_reaches_the_record(cli, attack):
    """A defense that returns probabilities instead of logits."""
    argv = ("run", "--defense", "probabilities", "--threat", "white-box", "--limit", "20", "--attack", attack)
    done = cli(*argv, "--set", "attack.version=custom", "--set", "attack.attacks=[apgd-ce]")
    assert done.code == 1, done.err  # the battery fails it too
    assert "the output is a probability distribution" in done.out
    (path,) = Path("results").glob("*/record.json")
    record = json.loads(path.read_text())
    assert any("probability distribution" in w for w in record["warnings"])
    assert not record["reliable"]
    assert not record["eligible"]
    assert next(f["check"] for f in record["audit"] if f["status"] == "fail") == "outputs"
    assert any(why["text"].startswith("unreliable: outputs") for why in record["ineligible_because"])
    assert {why["code"] for why in record["ineligible_because"]} == {"unreliable"}


def test_a_forged_record_or_verdict_file_is_refused(cli):
    argv = ("run", "--defense", "plain", "--threat", "white-box", "--attack", "pgd", "--limit", "10", "--json")
    record = record_of(cli(*argv))
    folder = RunStore(Path("results")).find(record["run_id"])
    rows = list(folder.read().rows)
    assert rows_digest(rows) == record["digests"]["verdicts"]
    for field, value in (("robust_accuracy", 0.99), ("clean_accuracy", float("nan")), ("images", 0)):
        forged = json.loads(json.dumps(record))
        forged["metrics"][field] = value
        with pytest.raises(ValidationError, match=f"{field}|outcomes"):
            Record.model_validate(forged)
    forged = json.loads(json.dumps(record))
    forged["spec"]["seed"] = 9
    folder.record_path.write_text(json.dumps(forged))
    done = cli("results", "show", record["run_id"])
    assert done.code == 2
    assert "run_id is not the hash of the spec" in done.err
    other = record_of(cli(*argv[:-1], "--seed", "1", "--json"))
    listed = cli("results", "list")
    assert listed.code == 2
    assert "run_id is not the hash of the spec" in listed.err
    assert other["run_id"] in listed.out
    folder.record_path.write_text(json.dumps(record))
    frame = pd.read_parquet(folder.verdicts_path)
    from bench.store.verdicts import write_rows

    write_rows(folder.verdicts_path, list(reversed(rows)))
    assert len(frame) == 10
    done = cli("results", "verify", record["run_id"])
    assert done.code == 2
    assert "does not have the digest" in done.err


def test_verify_sees_a_changed_verdict(cli):
    """Record and verdicts rewritten together, consistently: only judging again can tell."""
    from dataclasses import replace

    from bench.core.nouns import Outcome
    from bench.engine.summarise import metrics_of
    from bench.store.verdicts import write_rows

    argv = ("run", "--defense", "plain", "--threat", "white-box", "--attack", "pgd", "--limit", "10", "--json")
    record = record_of(cli(*argv))
    folder = RunStore(Path("results")).find(record["run_id"])
    rows = list(folder.read().rows)
    i = next(i for i, row in enumerate(rows) if row.outcome is Outcome.FOOLED)
    rows[i] = replace(rows[i], outcome=Outcome.ROBUST, adversarial_prediction=rows[i].label)
    forged = {**record, "metrics": metrics_of(rows).model_dump(mode="json")}
    forged["digests"] = {**record["digests"], "verdicts": rows_digest(rows)}
    write_rows(folder.verdicts_path, rows)
    folder.record_path.write_text(json.dumps(forged))
    done = cli("results", "verify", record["run_id"])
    assert done.code == 1
    assert f"{rows[i].image_id}: record says robust, judged again fooled" in done.out

"""`bench reproduce`: what is missing is run, the rest is read, and every figure follows from verdict files."""

import csv
import json
import os
import shlex
import signal
import time
from pathlib import Path

import pandas as pd
import pytest

from bench.checks.statistics import across_keys, interval
from bench.report.reported import reported
from tests.processes import survivors

FAST = "profile.recipes.full.steps: 60"
KEYED = f"defense: key-full\nthreat: adaptive\nset: {{{FAST}}}\n"
PLAIN = f"defense: plain\nthreat: white-box\nset: {{{FAST}}}\n"
PAPER = "protocol: paper, attack: autoattack, set: {attack.mode: budget, attack.iterations: 10, attack.queries: 40}"
TABLE1 = f"""
suite: table1
common: {{limit: 25}}
rows: {{key-full-p2: keyed.yaml, plain: plain.yaml}}
stands_for: {{key-full-p2: key-full-p4}}
columns:
  linf_non_adaptive: {{threat: non-adaptive, norm: linf, keys: 3, {PAPER}}}
  l2_adaptive: {{threat: adaptive, norm: l2, keys: 3, {PAPER}}}
  strict_t0: {{threat: non-adaptive, attack: pgd, keys: 3}}
  strict_t1: {{threat: adaptive, attack: pgd, keys: 3}}
  strict_t5: {{threat: white-box, attack: pgd, keys: 1}}
skip: {{plain: [l2_adaptive, strict_t0, strict_t1]}}
"""
FIG4 = """
suite: fig4
common: {limit: 25, attack: pgd, set: {attack.steps: 5}}
rows: {key-full-p2: keyed.yaml}
columns:
  a: {threat: non-adaptive, eps: "0", keys: 2}
  b: {threat: non-adaptive, eps: 16/255, keys: 2}
  c: {threat: non-adaptive, eps: 48/255, keys: 2}
  d: {threat: white-box, eps: 4/255}
  e: {threat: white-box, eps: 16/255}
"""


@pytest.fixture
def suites(home):
    Path("keyed.yaml").write_text(KEYED)
    Path("plain.yaml").write_text(PLAIN)
    Path("table1.yaml").write_text(TABLE1)
    Path("fig4.yaml").write_text(FIG4)


def read_csv(name: str) -> list[dict[str, str]]:
    with Path("reports/digits", f"{name}.csv").open() as file:
        return list(csv.DictReader(file))


def verdicts(run_id: str) -> pd.DataFrame:
    return pd.read_parquet(Path("results") / run_id / "verdicts.parquet")


def files(name: str) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in Path("reports/digits").glob(f"{name}.*")}


def test_a_table_is_run_once_then_read_and_comes_out_the_same(cli, suites):
    argv = ("reproduce", "table1", "--suite", "table1.yaml", "--workers", "2")
    done = cli(*argv)
    assert done.code == 0, done.err
    assert "15 of 15 runs exist, 15 of them made now" in done.out
    first = files("table1")
    assert set(first) == {f"table1.{kind}" for kind in ("md", "csv", "tex", "png", "pdf")}
    again = cli(*argv)
    assert "15 of 15 runs exist, 0 of them made now" in again.out
    assert files("table1") == first
    lines = {(line["row"], line["column"]): line for line in read_csv("table1")}
    for (_, column), line in lines.items():
        runs = [verdicts(run) for run in line["runs"].split()]
        if column.startswith(("strict_worst_case", "control_")) or not runs:
            continue
        by_key = [(f.clean_prediction == f.label) if column == "clean" else (f.outcome == "robust") for f in runs]
        mean = sum(table.mean() for table in by_key) / len(by_key)
        assert float(line["measured"]) == pytest.approx(mean)
        assert float(line["worst_key"]) == min(table.mean() for table in by_key)
        right = [table.tolist() for table in by_key]
        expected = across_keys(right, seed=0).interval if len(right) > 1 else interval(sum(right[0]), len(right[0]))
        assert (float(line["low"]), float(line["high"])) == pytest.approx(expected)
    assert int(lines["key-full-p2", "linf_non_adaptive"]["keys"]) == 3
    worst = lines["key-full-p2", "strict_worst_case"]
    assert worst["tiers"] == "T0 T1"
    stands = {}
    for run in worst["runs"].split():
        record = json.loads((Path("results") / run / "record.json").read_text())
        robust = verdicts(run).outcome == "robust"
        device = record["spec"]["device"]
        stands[device] = stands.get(device, True) & robust
    assert float(worst["measured"]) == pytest.approx(sum(s.mean() for s in stands.values()) / 3)
    best = lines["key-full-p2", "strict_best_single"]
    pairs = [lines["key-full-p2", "strict_worst_case"]["runs"].split()[i::2] for i in (0, 1)]  # of T0 and of T1
    means = [sum((verdicts(run).outcome == "robust").mean() for run in own) / 3 for own in pairs]
    assert float(best["measured"]) == pytest.approx(min(means))
    assert float(best["measured"]) >= float(worst["measured"])
    assert set(best["runs"].split()) == set(pairs[means.index(min(means))])
    assert (best["tries"], worst["tries"]) == ("1", "2")
    for name, column in (("other", "other_prediction"), ("noise", "noise_prediction")):
        line = lines["key-full-p2", f"control_{name}"]
        rows = [v[(v.clean_prediction == v.label) & (v.distance > 0)] for v in map(verdicts, line["runs"].split())]
        assert float(line["measured"]) == pytest.approx(sum((v[column] == v.label).mean() for v in rows) / 3)
    paper = lines["key-full-p2", "linf_non_adaptive"]
    counted = [(v.adversarial_prediction == v.label).mean() for v in map(verdicts, paper["runs"].split())]
    assert float(paper["papers_metric"]) == pytest.approx(sum(counted) / 3)
    text = first["table1.md"].decode()
    assert "†" in next(line for line in text.splitlines() if line.startswith("| plain"))
    assert float(lines["key-full-p2", "clean"]["reported"]) == pytest.approx(0.834)  # of key-full-p4
    assert reported("table1")[1]["clean"] not in text  # nothing to compare another data set with
    assert not any(line["difference"] for line in lines.values())
    for run in {run for line in lines.values() for run in line["runs"].split()}:
        assert run in text


def test_a_row_that_the_suite_does_not_have_stands_for_nothing(cli, suites):
    Path("table1.yaml").write_text(TABLE1.replace("{key-full-p2: key-full-p4}", "{key-full-p3: key-full-p4}"))
    done = cli("reproduce", "table1", "--suite", "table1.yaml")
    assert done.code == 2
    assert "stands_for names row 'key-full-p3'; did you mean key-full-p2" in done.err


@pytest.mark.parametrize("finished", [pytest.param(0, marks=pytest.mark.slow), 2])
def test_killed_processes_are_replaced(cli, spawn, suites, finished):
    """The worker processes are killed, immediately or later; others do the rest."""
    argv = ("reproduce", "table1", "--suite", "table1.yaml", "--limit", "10", "--keys", "1")
    process = spawn(*argv, "--workers", "2")
    workers: list[int] = []
    while len(workers) < 2 or len(list(Path("results").glob("*/record.json"))) < finished:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.1)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        workers = [int(c) for c in children if "spawn_main" in Path(f"/proc/{c}/cmdline").read_text()]
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert err.count("a worker died (exit code -9; out of memory?)") == 2
    assert "Traceback" not in err
    assert "Warning" not in err
    again = cli(*argv, "--workers", "1")
    assert again.code == 0, again.err
    assert "7 of 7 runs exist, 0 of them made now" in again.out


def test_a_killed_command_takes_its_processes_with_it(spawn, suites):
    process = spawn("reproduce", "table1", "--suite", "table1.yaml", "--limit", "10", "--keys", "1", "--workers", "2")
    workers: list[int] = []
    while len(workers) < 2:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        workers = [int(c) for c in children if "spawn_main" in Path(f"/proc/{c}/cmdline").read_text()]
    process.kill()
    process.wait()
    assert survivors(workers) == []


def test_a_sweep_carries_what_was_fooled_to_larger_radii(cli, suites):
    done = cli("reproduce", "fig4", "--suite", "fig4.yaml", "--workers", "1", "--json")
    assert done.code == 0, done.err
    lines = read_csv("fig4")
    assert [line["eps"] for line in lines if line["threat"] == "non-adaptive"] == ["0", "16/255", "16/85"]
    for threat in ("non-adaptive", "white-box"):
        own = [line for line in lines if line["threat"] == threat]
        figures = [float(line["robust"]) for line in own]
        assert figures == sorted(figures, reverse=True)
        stands = None
        for line in own:
            robust = [(verdicts(run).outcome == "robust").to_numpy() for run in line["runs"].split()]
            before = stands or [True] * len(robust)
            stands = [b & now for b, now in zip(before, robust, strict=True)]
            assert float(line["robust"]) == pytest.approx(sum(s.mean() for s in stands) / len(stands))
            assert float(line["robust_alone"]) == pytest.approx(sum(r.mean() for r in robust) / len(robust))
            lost = sum((r & ~s).sum() for r, s in zip(robust, stands, strict=True))
            assert int(line["carried"]) == lost
    assert all(Path(path).is_file() for path in json.loads(done.out)["files"])


def test_the_imagenet_table_stands_without_a_single_run(cli, home):
    """Reported rows, empty measured cells, and the commands that fill them, each of which `bench run` understands."""
    done = cli("reproduce", "table1", "--profile", "imagenet")
    assert done.code == 0, done.err
    assert "give --data DIR to run them" in done.out
    text = Path("reports/imagenet/table1.md").read_text()
    for row in reported("table1"):
        line = next(line for line in text.splitlines() if line.startswith(f"| {row['row']} |"))
        for column in ("clean", "linf_non_adaptive", "linf_adaptive", "l2_non_adaptive", "l2_adaptive"):
            assert not row[column] or f"paper {row[column]}" in line
    commands = text.split("```")[1].strip().splitlines()
    assert len(commands) == len(set(commands)) > 30
    assert not Path("results").exists()
    again = cli(*shlex.split(commands[0])[1:], "--data", "nowhere", "--offline")
    assert again.code == 2
    assert "nowhere" in again.err


def test_cells_that_fail_stay_empty_and_the_others_go_on(cli, suites):
    Path("keyed.yaml").write_text(
        f"defense: key-full\nthreat: adaptive\nset: {{{FAST}, profile.recipes.full.learning_rate: 1.0e+30}}\n"
    )
    done = cli("reproduce", "table1", "--suite", "table1.yaml", "--keys", "1", "--limit", "5", "--workers", "1")
    assert done.code == 1
    assert "failed: key-full-p2 linf_non_adaptive: " in done.out
    assert "2 of 7 runs exist, 2 of them made now" in done.out
    text = Path("reports/digits/table1.md").read_text()
    assert "## Empty cells" in text


@pytest.mark.parametrize(
    "argv",
    [
        ("--defense", "key-full", "--threat", "cross-key", "--judge-device", "1", "--set", FAST.replace(": ", "=")),
        ("--defense", "plain", "--threat", "white-box", "--attack", "pgd", "--norm", "l2", "--protocol", "paper"),
        ("--defense", "plain", "--threat", "non-adaptive", "--set", "attack.mode=budget", "--set", "fallback.steps=3",
         "--seed", "3", "--batch-size", "7", "--set", "profile.base.arguments.depth=1", "--set",
         "profile.base.recipe.steps=2"),
    ],
)  # fmt: skip
def test_the_command_of_a_record_makes_the_same_run(cli, home, argv):
    from bench.core.rerun_command import command_of
    from bench.store.record import read_record

    made = cli("run", *argv, "--eps", "0", "--limit", "3", "--json")
    assert made.code == 0, made.err
    record = read_record(Path("results") / json.loads(made.out)["run_id"] / "record.json")
    words = shlex.split(command_of(record.spec))
    assert words[:2] == ["bench", "run"]
    again = cli(*words[1:], "--json")
    assert again.code == 0, again.err
    assert json.loads(again.out)["run_id"] == record.run_id
    assert "complete already" in again.err

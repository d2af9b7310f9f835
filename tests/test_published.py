"""The committed tables and standings follow from the committed evidence, and from nothing else."""

import csv
import hashlib
import json
import shutil
from functools import cache
from pathlib import Path

import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_confint

from bench.checks.statistics import across_keys

ROOT = Path(__file__).parents[1]
PUBLISHED, REPORTS = ROOT / "results" / "published", ROOT / "reports" / "digits"
DIGITS = PUBLISHED / "digits"


def lines(name: str) -> list[dict[str, str]]:
    with (REPORTS / f"{name}.csv").open() as file:
        return list(csv.DictReader(file))


@cache
def all_verdicts() -> dict[str, pd.DataFrame]:
    rows = pd.read_parquet(DIGITS / "verdicts.parquet")
    return {str(run_id): of_run.reset_index(drop=True) for run_id, of_run in rows.groupby("run_id", sort=False)}


def verdicts(run_id: str) -> pd.DataFrame:
    return all_verdicts()[run_id]


@cache
def records() -> dict[str, dict]:
    lines = (DIGITS / "records.jsonl").read_text().splitlines()
    return {record["run_id"]: record for record in map(json.loads, lines)}


def spec(run_id: str) -> dict:
    return records()[run_id]["spec"]


def check(line: dict[str, str], by_key: list[pd.Series], figure: str) -> None:
    """One line of a CSV file against what counts for each key."""
    shares = [table.mean() for table in by_key]
    assert float(line[figure]) == pytest.approx(sum(shares) / len(shares), abs=1e-12)
    assert float(line["worst_key"]) == pytest.approx(min(shares))
    assert (int(line["images"]), int(line["keys"])) == (len(by_key[0]), len(by_key))
    right, n = int(by_key[0].sum()), len(by_key[0])
    method = "beta" if right in (0, n) else "wilson"
    alone = proportion_confint(right, n, 0.05, method)
    expected = across_keys([t.tolist() for t in by_key], seed=0).interval if len(by_key) > 1 else alone
    assert (float(line["low"]), float(line["high"])) == pytest.approx(expected, abs=1e-6)


def survives(frame: pd.DataFrame, *, rounded: bool) -> pd.Series:
    """The images that count as robust, also after rounding to 8 bits."""
    right = frame.clean_prediction == frame.label
    valid = ~frame.outcome.isin(["invalid", "error"])
    return right & valid & (frame.quantized_prediction == frame.label) if rounded else frame.outcome == "robust"


def check_control(line: dict[str, str], frames: list[pd.DataFrame]) -> None:
    """A mean over keys of shares of the images that were correct without attack, and moved, beside another image."""
    column = {"other": "other_prediction", "noise": "noise_prediction", "own": "adversarial_prediction"}
    said = column[line["column"].removeprefix("control_")]
    paired = [f[(f.clean_prediction == f.label) & f.other_prediction.notna() & (f.distance > 0)] for f in frames]
    shares = [(f[said] == f.label).mean() for f in paired]
    assert float(line["measured"]) == pytest.approx(sum(shares) / len(shares))
    assert (int(line["keys"]), int(line["images"])) == (len(frames), min(map(len, paired)))


def test_every_figure_of_table_1_follows_from_verdict_files():
    table = lines("table1")
    assert len({line["row"] for line in table}) == 12
    for line in table:
        runs = line["runs"].split()
        if not runs:
            assert not line["measured"]
            continue
        frames = [verdicts(run) for run in runs]
        if line["column"] == "clean":
            check(line, [f.clean_prediction == f.label for f in frames], "measured")
            continue
        if line["column"].startswith("control_"):
            check_control(line, frames)
            continue
        stands: dict[int, pd.Series] = {}
        tries: dict[int, int] = {}
        for run, frame in zip(runs, frames, strict=True):
            robust = survives(frame, rounded=line["column"].endswith("8_bits")).set_axis(frame.image_id)
            device = spec(run)["device"]
            stands[device] = stands[device] & robust if device in stands else robust
            tries[device] = tries.get(device, 0) + 1
        assert line["column"].startswith("strict_") or set(tries.values()) == {1}
        assert not line["tries"] or {int(line["tries"])} == set(tries.values())
        check(line, list(stands.values()), "measured")
        if line["papers_metric"]:
            counted = [(f.adversarial_prediction == f.label).mean() for f in frames]
            assert float(line["papers_metric"]) == pytest.approx(sum(counted) / len(counted))
        sources = [(f.source_prediction == f.label).mean() for f in frames]
        if line["source_clean_low"]:
            assert float(line["source_clean_low"]) == pytest.approx(min(sources))
            assert float(line["source_clean_high"]) == pytest.approx(max(sources))


def test_what_is_read_is_what_the_figures_say():
    """Every percentage in the first line of a cell is in the CSV file."""
    text = (REPORTS / "table1.md").read_text()
    heads, figures = [], {(x["row"], x["column"]): x for x in lines("table1")}
    names = {"clean": "clean", "l∞ non-adaptive": "linf_non_adaptive", "l∞ adaptive": "linf_adaptive",
             "l2 non-adaptive": "l2_non_adaptive", "l2 adaptive": "l2_adaptive", "l∞ white-box": "linf_white_box",
             "best single attack": "strict_best_single", "worst case of k tries": "strict_worst_case",
             "the same in 8 bits": "strict_worst_case_8_bits", "queries (T2)": "strict_queries",
             "white-box (T5)": "strict_white_box"}  # fmt: skip
    checked = 0
    for row in text.splitlines():
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        if row.startswith("| row |"):
            heads = cells
        elif heads and row.startswith("|") and not row.startswith("| ---"):
            for head, cell in zip(heads, cells, strict=True):
                name, column = cells[0].split("<br>")[0], names.get(head, "")
                if "†" in cell and (name, "linf_white_box") in figures:
                    column = "linf_white_box"
                line = figures.get((name, column))
                if line and line["measured"]:
                    low, high = (f"{100 * float(line[k]):.1f}" for k in ("low", "high"))
                    assert f"{100 * float(line['measured']):.1f} [{low}, {high}]" in cell
                    checked += 1
    assert checked > 50


def test_every_point_of_fig_4_follows_from_verdict_files():
    before: dict[tuple[str, str], list[pd.Series]] = {}
    for line in lines("fig4"):
        robust = [(f.outcome == "robust") for f in map(verdicts, line["runs"].split())]
        held = before.get((line["row"], line["threat"]))
        stands = [a & b for a, b in zip(robust, held, strict=True)] if held else robust
        before[line["row"], line["threat"]] = stands
        check(line, stands, "robust")
        assert float(line["robust_alone"]) == pytest.approx(sum(r.mean() for r in robust) / len(robust))


@pytest.fixture
def evidence(home) -> None:
    """A results folder that holds the committed evidence and nothing else."""
    shutil.copytree(PUBLISHED, "results/published")


@pytest.mark.parametrize("name", ["table1", "fig4"])
def test_the_committed_files_are_what_the_command_writes(cli, evidence, name):
    """From the committed records, without a run; pictures may differ with matplotlib's version."""
    done = cli("reproduce", name, "--render-only")
    assert done.code == 0, done.err
    assert "Empty cells" not in Path(f"reports/digits/{name}.md").read_text()
    for kind in ("md", "csv", "tex"):
        assert Path(f"reports/digits/{name}.{kind}").read_bytes() == (REPORTS / f"{name}.{kind}").read_bytes()


def test_the_committed_standings_are_those_of_the_committed_runs(cli, evidence):
    done = cli("leaderboard", "standings")
    assert done.code == 0
    assert "refused" not in done.err
    assert done.out == (ROOT / "leaderboard" / "standings.csv").read_text(), "run `make published`"


def test_the_evidence_is_what_its_manifest_says():
    contents = json.loads((DIGITS / "manifest.json").read_text())
    there = {p.relative_to(DIGITS).as_posix() for p in DIGITS.rglob("*") if p.is_file()}
    assert there == {*contents["files"], "manifest.json"}
    for name, sha in contents["files"].items():
        assert hashlib.sha256((DIGITS / name).read_bytes()).hexdigest() == sha, name
    assert set(records()) == set(all_verdicts())
    assert (contents["runs"], contents["images"]) == (len(records()), sum(map(len, all_verdicts().values())))
    for run_id, record in records().items():
        assert (verdicts(run_id).outcome == "robust").mean() == record["metrics"]["robust_accuracy"]

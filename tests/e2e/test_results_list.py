"""`bench results list`: what it shows, in which order, and what it does not need for that."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.store.record import read_record, write_record
from bench.store.runs import RunStore
from tests.unit.report.synthetic import write


@pytest.fixture
def ids(home) -> list[str]:
    """Ninety synthetic runs, each started a day after the one before, in an order that is not that of the ids."""
    made = write(Path("results"), 90, images=12)
    for day, run_id in enumerate(made):
        path = Path("results") / run_id / "record.json"
        record = read_record(path)
        started = f"2026-{1 + day // 20:02d}-{1 + day % 20:02d}T12:00:00+00:00"
        write_record(path, record.model_copy(update={"provenance": record.provenance.model_copy(
            update={"started": started})}))  # fmt: skip
    return made


def listed(cli, *argv: str) -> list[dict]:
    done = cli("results", "list", *argv, "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_the_newest_is_first(cli, ids):
    assert [r["run_id"] for r in listed(cli)] == ids[::-1]
    assert [r["run_id"] for r in listed(cli, "--reverse", "--limit", "3")] == ids[:3]
    assert [r["run_id"] for r in listed(cli, "--since", "2026-02-01")] == ids[:19:-1]
    assert [r["run_id"] for r in listed(cli, "--sort", "run")] == sorted(ids)


def test_an_order_by_a_figure(cli, ids):
    shares = [r["metrics"]["robust_accuracy"] for r in listed(cli, "--sort", "robust")]
    assert shares == sorted(shares)
    assert len(set(shares)) > 3
    assert [r["metrics"]["robust_accuracy"] for r in listed(cli, "--sort", "robust", "--reverse")] == shares[::-1]


@pytest.mark.parametrize(
    ("flag", "value", "field"),
    [
        ("--defense", "key-lora", lambda r: r["spec"]["defense"]["name"]),
        ("--threat", "adaptive", lambda r: r["spec"]["threat"]["name"]),
        ("--attack", "autoattack", lambda r: r["spec"]["attack"]["name"]),
        ("--profile", "digits", lambda r: r["spec"]["profile"]["name"]),
        ("--protocol", "paper", lambda r: r["spec"]["protocol"]),
    ],
)
def test_a_filter_takes_what_it_names_and_nothing_else(cli, ids, flag, value, field):
    every = listed(cli)
    expected = [r["run_id"] for r in every if field(r) == value]
    assert 0 < len(expected) < len(every)
    assert [r["run_id"] for r in listed(cli, flag, value)] == expected


def test_eligible_or_not(cli, ids):
    yes, no = listed(cli, "--eligible"), listed(cli, "--not-eligible")
    assert all(r["eligible"] for r in yes)
    assert not any(r["eligible"] for r in no)
    assert len(yes) + len(no) == len(ids)
    assert no


def test_the_table_fits_into_100_columns_and_marks_what_is_not_eligible(cli, ids):
    done = cli("results", "list")
    lines = done.out.splitlines()
    assert lines[0].startswith("90 of 90 runs")
    assert max(map(len, lines)) <= 112  # several profiles: one column more
    one = cli("results", "list", "--profile", "digits").out.splitlines()
    assert max(map(len, one)) <= 100
    marked = {line.split()[1] for line in lines if line.rstrip().endswith("*") or "* " in line}
    assert {r["run_id"] for r in listed(cli, "--not-eligible")} <= marked


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("--sort", "size"), "--sort is 'size'; expected one of date, run"),
        (("--tier", "T9"), "--tier is 'T9'; expected one of T0"),
        (("--protocol", "loose"), "--protocol is 'loose'; expected one of"),
        (("--since", "yesterday"), "--since is 'yesterday'; expected a date such as"),
    ],
)
def test_words_that_no_record_has_are_refused(cli, ids, argv, says):
    done = cli("results", "list", *argv)
    assert done.code == 2
    assert says in done.err


def test_a_record_without_verdicts_is_named_and_hides_no_other(cli, ids):
    RunStore(Path("results")).run(ids[3]).verdicts_path.unlink()
    done = cli("results", "list")
    assert done.code == 2
    assert f"{ids[3]}/verdicts.parquet is missing" in done.err
    assert ids[3] not in done.out
    assert all(run_id in done.out for run_id in ids if run_id != ids[3])


def test_nothing_heavy_is_imported_for_it(ids):
    code = (
        "import sys, bench.cli.main as m\n"
        "sys.argv = ['bench', 'results', 'list']\n"
        "try: m.main()\n"
        "except SystemExit as e: assert not e.code, e.code\n"
        "heavy = {'torch', 'timm', 'pandas', 'pyarrow', 'numpy', 'matplotlib', 'scipy'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert ids[0] in done.stdout

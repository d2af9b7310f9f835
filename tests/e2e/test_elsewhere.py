"""Results at a URL: two machines without a folder in common, each with a BENCH_HOME of its own."""

import json
import shutil
import signal
import time
from pathlib import Path

import fsspec
import pytest

RUN = ["run", "--defense", "plain", "--threat", "white-box", "--attack", "pgd", "--set", "attack.steps=2", "--json"]
SHORT = [*RUN, "--limit", "24", "--set", "profile.shard_size=8"]


@pytest.fixture
def machine(home, tmp_path, monkeypatch):
    """Changes to another machine: one that has the models, and nothing else."""

    def change(name):
        own = tmp_path / name
        (own / "cache").mkdir(parents=True, exist_ok=True)
        if not (own / "cache" / "models").exists():
            (own / "cache" / "models").symlink_to(home / "cache" / "models")
        monkeypatch.setenv("BENCH_HOME", str(own))
        return own

    return change


def digests(done):
    assert done.code == 0, done.err
    return json.loads(done.out)["digests"]


def test_a_run_killed_between_shards_is_resumed_on_another_machine(cli, spawn, machine, tmp_path):
    expected = digests(cli(*SHORT))
    there = tmp_path / "there"
    url = there.as_uri()
    one = machine("one")
    child = spawn(*SHORT, "--results", url, BENCH_HOME=str(one), OMP_NUM_THREADS="1")
    while not (first := sorted(there.glob("*/shards/*.parquet"))) and child.poll() is None:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert first
    assert not list(there.glob("*/record.json"))
    kept = len(list(there.glob("*/shards/*.parquet")))
    machine("two")
    done = cli(*SHORT, "--results", url)
    assert digests(done) == expected
    assert json.loads(done.out)["cost"]["shards_resumed"] == kept
    left = [p.relative_to(there).parts[1:] for p in there.rglob("*") if p.is_file() and p.suffix != ".part"]
    assert sorted(left) == [("record.json",), ("verdicts.parquet",)]
    machine("three")
    run = json.loads(done.out)["run_id"]
    assert json.loads(cli("results", "show", run, "--results", url, "--json").out) == json.loads(done.out)
    assert run[:8] in cli("results", "list", "--results", url).out
    again = cli(*SHORT, "--results", url)
    assert digests(again) == expected
    assert "complete already" in again.err


def test_what_is_damaged_there_is_made_again(cli, home, machine):
    """Memory in this process is the place: its file system has no rename, and no folders."""
    expected = digests(cli(*SHORT))
    machine("one")
    fs = fsspec.filesystem("memory")
    cli(*SHORT, "--results", "memory://place/runs")
    (record,) = fs.glob("/place/runs/*/record.json")
    verdicts = record.replace("record.json", "verdicts.parquet")
    fs.pipe_file(verdicts, fs.cat_file(verdicts)[:-8])
    machine("two")
    done = cli(*SHORT, "--results", "memory://place/runs")
    assert done.code == 2
    assert "verdicts.parquet" in done.err
    fs.rm("/place/runs", recursive=True)
    shutil.rmtree(machine("two") / "cache" / "results")
    assert digests(cli(*SHORT, "--results", "memory://place/runs")) == expected
    assert [Path(p).name for p in fs.find("/place")] == ["record.json", "verdicts.parquet"]


def test_a_damaged_shard_there_alone_is_made_again(cli, machine, monkeypatch):
    """The place loses its connection when the record is put; one of the shards that are there is damaged then."""
    expected = digests(cli(*SHORT))
    machine("one")
    fs = fsspec.filesystem("memory")
    whole = type(fs).mv

    def broken(self, one, two, **more):
        if two.endswith("verdicts.parquet"):
            raise ConnectionError("no route to host")
        return whole(self, one, two, **more)

    with monkeypatch.context() as patch:
        patch.setattr(type(fs), "mv", broken)
        lost = cli(*SHORT, "--results", "memory://broken")
    assert lost.code == 2
    assert "cannot write memory://broken: ConnectionError: no route to host" in lost.err
    shards = [path for path in fs.find("/broken") if path.endswith(".parquet")]
    assert len(shards) == 3
    fs.pipe_file(shards[1], fs.cat_file(shards[1])[:-1] + b"?")
    machine("two")
    done = cli(*SHORT, "--results", "memory://broken")
    assert digests(done) == expected
    assert "shard 1 is made again" in done.err


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("sftp://me:secret@host/runs", "holds a password"),
        ("nowhere://runs", "Protocol not known: nowhere"),
        ("memory://" + "x" * 300, "expected a shorter one"),
        ("file:///proc/runs", "cannot write file:///proc/runs"),
    ],
)
def test_a_place_that_cannot_be_used_is_refused_in_one_line(cli, machine, url, why):
    own = machine("one")
    done = cli(*SHORT, "--results", url)
    assert done.code == 2
    assert why in done.err
    assert done.err.count("\n") == 1
    assert "secret" not in done.err
    assert not (own / "cache" / "adversarial").exists()

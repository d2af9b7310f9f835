"""Streams, paths, limits and files of every odd kind: one line and exit code 2, never a traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import Done

ENTRY = [sys.executable, "-W", "ignore", "-m", "bench"]
RUN = [
    "run",
    "--defense",
    "plain",
    "--threat",
    "white-box",
    "--attack",
    "pgd",
    "--limit",
    "4",
    "--set",
    "attack.steps=1",
]


def shell(command: str, *argv: str) -> subprocess.CompletedProcess[bytes]:
    """A shell command in which "$@" is the command of bench."""
    return subprocess.run(["bash", "-c", command, "bash", *ENTRY, *argv], capture_output=True, check=False)


def one_line(done: subprocess.CompletedProcess[bytes]) -> str:
    text = done.stderr.decode()
    assert "Traceback" not in text
    assert "Exception ignored" not in text
    (line,) = text.splitlines()
    assert line.startswith("bench: ")
    return line


def said(done: Done) -> bool:
    """Whether a command said one short line, beside the one that it takes a while."""
    lines = [line for line in done.err.strip().splitlines() if not line.endswith(" ...")]
    return len(lines) == 1 and lines[0].startswith("bench: ") and len(lines[0]) < 1000


@pytest.mark.parametrize("argv", [["list"], ["list", "--json"], ["--help"], ["results", "list", "--json"]])
def test_output_that_cannot_be_written(home, argv):
    assert "no space left on device" in one_line(done := shell('"$@" >/dev/full', *argv))
    assert done.returncode == 2
    closed = shell('"$@" >&-', *argv)
    assert (closed.returncode, closed.stderr) == (0, b"")
    reader_gone = shell('"$@" | true; exit ${PIPESTATUS[0]}', *argv)
    assert (reader_gone.returncode in (0, 1), reader_gone.stderr) == (True, b"")
    assert shell('"$@" 2>&- >/dev/full', *argv).returncode == 2
    assert shell('"$@" <&- >&- 2>&-', *argv).returncode == 0


def test_a_closed_stream_is_no_file_of_the_run(home):
    done = shell('"$@" >&- 2>&-', *RUN)
    assert done.returncode == 0
    (record,) = Path("results").glob("*/record.json")
    json.loads(record.read_text())


def test_names_that_are_not_utf8_work(home):
    results = os.fsdecode(b"res\xffults")
    done = shell('"$@"', *RUN, "--results", results)
    assert done.returncode == 0, done.stderr
    (record,) = Path(results).glob("*/record.json")
    assert json.loads(record.read_text())["provenance"]["command"].endswith("--results 'res\\xffults'")
    shown = shell('"$@"', "results", "show", record.parent.name, "--results", results)
    assert shown.returncode == 0, shown.stderr
    assert "Traceback" not in shown.stderr.decode()


YAML = {
    "not UTF-8": b"defense: \xff",
    "deep": b"[" * 50_000,
    "a laugh": b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(b"%c: &%c [%s]\n" % (98 + i, 98 + i, b",".join([b"*%c" % (97 + i)] * 9)) for i in range(12)),
    "merged": b"a: &a {k: v}\n"
    + b"".join(b"%c: &%c {<<: [%s]}\n" % (98 + i, 98 + i, b",".join([b"*%c" % (97 + i)] * 9)) for i in range(12)),
    "itself": b"&a {defense: *a}",
    "no date": b"defense: 2026-13-45",
    "a date": b"defense: 2026-01-01",
    "a tag": b"!!python/object/apply:os.system [true]",
    "a digit too many": b"limit: " + b"9" * 5000,
    "empty": b"",
    "a list": b"- a",
    "two documents": b"--- {}\n--- {}",
    "zero bytes": bytes(64),
    "huge": b"a: b\n" * 100_000,
}


@pytest.mark.parametrize("kind", YAML)
def test_odd_yaml(cli, kind):
    Path("odd.yaml").write_bytes(YAML[kind])
    run = ("run", "--defense", "plain", "--threat", "white-box")
    for argv in (
        ("run", "--config", "odd.yaml"),
        (*run, "--profile", "odd.yaml"),
        ("ladder", "--defense", "plain", "--ladder", "odd.yaml"),
        ("reproduce", "table1", "--suite", "odd.yaml"),
        ("plan", "odd.yaml"),
    ):
        done = cli(*argv)
        assert done.code == 2, (argv, done)
        assert said(done), (argv, done)


SUITES = [
    "suite: a\nrows: [a]",
    "suite: a\nrows: {a: {b: c}}",
    "suite: a\nrows: {a: b.yaml}\ncolumns: 3",
    "suite: a\nrows: {a: b.yaml}\ncolumns: {c: 3}",
    "suite: a\nrows: {a: b.yaml}\nskip: {a: 3}",
    "suite: a\nrows: {a: b.yaml}\nskip: a",
    "suite: a\nrows: {a: b.yaml}\ncommon: 3",
    "suite: a\nrows: {a: b.yaml}\nstands_for: {a: [1]}",
    "suite: a\nrows: {a: .}",
    "suite: a\n3: 4",
    "defense: [a]\nthreat: b",
    "defense: plain\nthreat: white-box\nset: [a]",
    "defense: plain\nthreat: white-box\nlimit: {a: b}",
    "defense: plain\nthreat: white-box\nset: {attack.steps: {a: b}}",
    "defense: plain\nthreat: white-box\nset: {3: 4}",
]


@pytest.mark.parametrize("text", SUITES)
def test_odd_suites(cli, text):
    Path("b.yaml").write_text("defense: plain\nthreat: white-box\n")
    Path("odd.yaml").write_text(text)
    for argv in (("reproduce", "table1", "--suite", "odd.yaml"), ("plan", "odd.yaml"), ("run", "--config", "odd.yaml")):
        done = cli(*argv)
        assert done.code == 2, (argv, done)
        assert said(done), (argv, done)


@pytest.mark.parametrize(
    "value", ["2026-13-45", "2026-01-01", "[" * 2000, "&a [*a]", "!!binary x", "=", "\udcff", "{a: 1}"]
)
def test_odd_settings(cli, value):
    for name in ("attack.steps", "profile.shard_size", "profile.base", "defense.x"):
        done = cli(*RUN, "--set", f"{name}={value}")
        assert done.code == 2, (name, done)
        assert said(done), (name, done)


IDS = {
    "twice": "".join(f"digits-{i}\n" for i in range(30_000)) + "digits-7\n",
    "not UTF-8": b"\xff\xfe",
    "empty": "",
    "unknown": "".join(f"none-{i}\n" for i in range(100_000)),
    "one long line": "x" * 5_000_000,
}


@pytest.mark.parametrize("kind", IDS)
def test_odd_lists_of_ids(cli, kind):
    data = IDS[kind]
    Path("ids.txt").write_bytes(data if isinstance(data, bytes) else data.encode())
    done = cli(*RUN[:7], "--ids", "ids.txt")
    assert done.code == 2, done
    assert said(done), done


def test_an_odd_keyring_hides_no_key(cli, home):
    ring = home / "odd" / "keys"
    os.environ["BENCH_HOME"] = str(home / "odd")
    assert cli("key", "new", "alice").code == 0
    (ring / "folder.key").mkdir()
    (ring / "long.key").write_bytes(b"a" * 1_000_000)
    (ring / "long.key").chmod(0o600)
    (ring / "gone.key").symlink_to("nowhere")
    (ring / ".hidden.key").write_bytes(b"")
    (ring / os.fsdecode(b"\xff.key")).write_bytes(b"")
    os.mkfifo(ring / "pipe.key")
    done = cli("key", "list")
    assert done.code == 2
    assert done.out.startswith("alice  ")
    assert "Traceback" not in done.err
    for name in ("folder", "long", "gone", "pipe"):
        done = cli(*RUN, "--key", name)
        assert done.code == 2, (name, done)
        assert said(done), (name, done)


@pytest.mark.parametrize("kilobytes", [400_000, 1_500_000, 3_000_000])
def test_a_limit_of_memory_is_one_line(home, kilobytes):
    done = shell(f'ulimit -v {kilobytes}; "$@"', *RUN)
    assert "Traceback" not in done.stderr.decode()
    assert len(done.stderr.splitlines()) <= 1 or done.returncode == 0, done.stderr


def test_odd_weights(cli):
    torch.save({"w": torch.empty(3, device="meta")}, "w.pth")
    done = cli(*RUN, "--weights", "w.pth")
    assert done.code == 2
    assert said(done), done

"""Runs on several workers, whichever of them die, and when: the verdicts are those of an undisturbed run."""

import json
import time
from pathlib import Path

import pytest

from bench.store.runs import RunStore

STEPS = 40
FLAGS = ("--defense", "plain", "--threat", "white-box", "--attack", "pgd", "--set", "profile.shard_size=4",
         "--set", "profile.batch_size=4", "--limit", "24", "--device", "cpu")  # fmt: skip


def flags(steps: int = 3) -> tuple[str, ...]:
    return (*FLAGS, "--set", f"attack.steps={steps}")


@pytest.fixture
def expected(cli, home):
    """The digest of the verdicts of the run, made by one process; its images are forgotten."""

    def made(steps: int = 3) -> str:
        done = cli("run", *flags(steps), "--results", "alone", "--json")
        assert done.code == 0, done.err
        return json.loads(done.out)["digests"]["verdicts"]

    return made


def folder(results: str = "results"):
    """The folder of the only run."""
    (path,) = [p for p in Path(results).iterdir() if p.is_dir()]
    return RunStore(Path(results)).run(path.name)


def digest(results: str = "results") -> str:
    return folder(results).read().record.digests.verdicts


def children(pid: int) -> list[int]:
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(c) for c in found if "spawn_main" in Path(f"/proc/{c}/cmdline").read_text()]
    except OSError:
        return []


def until(condition, *processes, patience: float = 120):
    deadline = time.monotonic() + patience
    while not (found := condition()):
        for process in processes:
            assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.02)
    return found


def judging(results: str = "results"):
    """Shards that are being made now, by the process that makes each."""
    try:
        claims = folder(results).claims().all()
    except (ValueError, OSError):
        return {}
    return {index: claim.holder.pid for index, claim in claims.items() if claim.judging}


def shards(results: str = "results") -> list[Path]:
    return list(Path(results).glob("*/shards/[0-9]*.parquet"))


def test_two_workers_and_two_strangers_make_what_one_process_makes(cli, spawn, expected, forget_images):
    alone = expected()
    forget_images()
    done = cli("run", *flags(), "--workers", "2", "--results", "two")
    assert done.code == 0, done.err
    assert digest("two") == alone
    forget_images()
    strangers = [spawn("worker", "run", *flags(), "--results", "strangers") for _ in range(2)]
    said = [process.communicate(timeout=120)[1] for process in strangers]
    assert [process.returncode for process in strangers] == [0, 0], said
    assert digest("strangers") == alone
    assert not (folder("strangers").path / "shards").exists()

"""Runs on several workers, whichever of them die, and when: the verdicts are those of an undisturbed run."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.core.life import Life
from bench.store.claims import Claim, Claims
from bench.store.runs import RunStore
from tests.processes import lives, survivors

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


def test_a_worker_killed_in_the_middle_costs_one_shard(spawn, expected, forget_images):
    alone = expected(STEPS)
    forget_images()
    process = spawn("run", *flags(STEPS), "--workers", "2")
    index, pid = next(iter(until(judging, process).items()))
    os.kill(pid, signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert f"the worker of shard {index} died (exit code -9; out of memory?)" in err
    assert digest() == alone


@pytest.mark.slow
def test_a_killed_driver_takes_its_workers_along_and_strangers_finish(spawn, expected, forget_images):
    alone = expected(STEPS)
    forget_images()
    driver = spawn("run", *flags(STEPS), "--workers", "2")
    until(lambda: judging() and children(driver.pid), driver)
    workers = children(driver.pid)
    driver.kill()
    driver.wait()
    assert survivors(workers) == []
    assert not list(Path("results").glob("*/record.json"))
    stranger = spawn("worker", "run", *flags(STEPS))
    _, err = stranger.communicate(timeout=120)
    assert stranger.returncode == 0, err
    assert digest() == alone


def test_a_second_driver_is_told_who_runs_it_and_status_watches(cli, spawn, home, forget_images):
    forget_images()
    driver = spawn("run", *flags(400), "--workers", "2")
    until(judging, driver)
    name = folder().path.name
    second = cli("run", *flags(400))
    assert second.code == 2
    assert f"process {driver.pid} on " in second.err
    assert f"bench results status {name}" in second.err
    done = cli("results", "status", name[:6], "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["shards"] == 6
    assert told["done"] + len(told["running"]) + told["left"] == 6
    assert {one["state"] for one in told["running"]} == {"alive"}
    assert {one["pid"] for one in told["running"]} <= set(children(driver.pid))
    assert told["images"] == 24
    driver.send_signal(signal.SIGINT)
    _, err = driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert "run the same command again to resume" in err
    assert not folder().claims().all()


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_shard_is_made_again(cli, spawn, expected, forget_images, damage):
    alone = expected(STEPS)
    forget_images()
    assert cli("worker", "run", *flags(STEPS), "--most", "3").code == 0
    path = sorted(shards())[1]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data if damage == "flipped" else data[: len(data) // 2])
    os.utime(path, (2**31, 2**31))  # of a clock that was wrong
    assert len(shards()) == 3
    assert cli("worker", "run", *flags(STEPS)).code == 0
    assert digest() == alone


def test_a_shard_that_kills_its_workers_is_set_aside(cli, outsiders, expected):
    expected()
    image = folder("alone").read().rows[9].image_id
    argv = ("run", *(word for word in FLAGS if word not in ("--attack", "pgd")), "--attack", "fatal")
    done = cli(*argv, "--set", f"attack.image={image}", "--workers", "2", "--json")
    assert done.code == 1, done.err
    record = json.loads(done.out)
    assert record["metrics"]["outcomes"]["error"] == 4
    assert "shard 2 killed its worker twice (exit code -9; out of memory?)" in record["warnings"]
    assert not record["eligible"]
    assert record["ineligible_because"][0]["code"] == "error-images"
    assert sum(row.outcome != "error" for row in folder().read().rows) == 20


def test_claims_of_dead_and_of_silent_processes_are_taken_over(tmp_path, monkeypatch):
    """Of this machine at once; of another one by the observer's clock, whatever the times of the files are."""
    ours = Claims(tmp_path / "shards", stale=100)
    held = ours.take(0)
    assert held is not None
    assert Claims(tmp_path / "shards").take(0) is None
    held.release(made=True)
    assert not ours.all()
    gone = Life(held.claim.holder.host, held.claim.holder.place, 2**22 + 1, "1")
    far = Life("elsewhere", "another place", 1, "1")
    for index, holder in enumerate((gone, far)):
        write(ours, index, Claim("token", holder, judging=True))
    taken = ours.take(0)
    assert taken is not None
    assert taken.claim.deaths == (f"{gone} died",)
    taken.release(made=False)
    now = [1000.0]
    monkeypatch.setattr("bench.store.claims.time.monotonic", lambda: now[0])
    for backwards in (0.0, 2**31):
        os.utime(tmp_path / "shards" / ".00001.claim", (backwards, backwards))
        assert ours.take(1) is None
        now[0] += 49
    write(ours, 1, Claim("token", far, judging=True, beat=1))
    for _ in range(2):
        assert ours.take(1) is None
        now[0] += 60
    second = ours.take(1)
    assert second is not None
    assert len(second.claim.deaths) == 1


def write(claims: Claims, index: int, claim: Claim) -> None:
    from bench.store.claims import _data

    claims.folder.mkdir(exist_ok=True)
    (claims.folder / f".{index:05d}.claim").write_bytes(_data(claim))


LIMITED = (
    "import resource, signal, sys; resource.setrlimit(resource.RLIMIT_CORE, (0, 0));"
    "signal.signal(signal.SIGXFSZ, signal.{how}); resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000));"
    "sys.argv[0] = 'bench'; from bench.cli.entry import console; console()"
)


@pytest.mark.slow
@pytest.mark.parametrize(("how", "code"), [("SIG_IGN", 1), ("SIG_DFL", -signal.SIGXFSZ)])
def test_a_full_disk_and_a_death_while_a_shard_is_written(cli, expected, how, code):
    """The limit on the size of files stands for a full disk; by default it kills in the middle of a file."""
    alone = expected()
    assert cli("worker", "run", *flags(), "--most", "2").code == 0
    argv = [sys.executable, "-W", "ignore", "-c", LIMITED.format(how=how), "worker", "run", *flags()]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == code, done.stderr
    assert len(shards()) == 2
    if how == "SIG_IGN":
        assert "cannot write" in done.stderr
        assert not folder().claims().all()
    assert cli("worker", "run", *flags()).code == 0
    assert digest() == alone


@pytest.mark.slow
def test_twenty_random_rounds(spawn, cli, expected, forget_images):
    alone, drawn = expected(STEPS), random.Random(0)
    for number in range(20):
        forget_images()
        results = f"round{number}"
        command = drawn.choice((("run",), ("worker", "run")))
        started = [
            spawn(*command, *flags(STEPS), "--results", results, *(("--workers", "2") if len(command) == 1 else ()))
        ]
        if drawn.random() < 0.5:
            started.append(spawn("worker", "run", *flags(STEPS), "--results", results))
        until(lambda: list(Path(results).glob("*/shards")) or any(p.poll() is not None for p in started))  # noqa: B023
        time.sleep(drawn.uniform(0, 6))
        victims = [pid for p in started for pid in (p.pid, *children(p.pid))]
        for pid in drawn.sample(victims, drawn.randint(1, len(victims))):
            if lives(pid):
                os.kill(pid, signal.SIGKILL)
        for process in started:
            process.communicate(timeout=200)
        for _ in range(2):  # the second one tries again what was set aside
            done = cli("run", *flags(STEPS), "--results", results)
        assert done.code == 0, done.err
        assert digest(results) == alone, number
        assert not list(Path(results).rglob("*.claim"))

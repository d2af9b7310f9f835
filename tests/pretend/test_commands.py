"""Every command that takes ``--device`` on the pretended one: it comes to what it comes to on the CPU."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
import yaml
from safetensors.torch import load_file

from bench.cli.main import app
from bench.store.runs import RunStore

SMALL = ("--set", "profile.base.arguments.embed_dim=32", "--set", "profile.base.arguments.depth=2", "--set",
         "profile.base.recipe.steps=40", "--set", "profile.recipes.full.steps=3", "--set",
         "profile.judge_batch=8")  # fmt: skip
PGD = ("--attack", "pgd", "--set", "attack.steps=2", "--eps", "0.03")
RUN = ("--defense", "key-full", *SMALL, *PGD, "--limit", "4")
RUNGS = {
    "name": "short",
    "summary": "one rung of two tiers",
    "rungs": [
        {"threat": "white-box", "attack": "pgd", "set": {"attack.steps": 2}},
        {"threat": "non-adaptive", "attack": "mi", "set": {"attack.steps": 2}},
    ],
    "paper": [],
}
SUITE = """
suite: cross-key
common: {limit: 4, attack: pgd, set: {attack.steps: 2}}
rows: {plain: plain.yaml}
columns: {white: {threat: white-box, eps: "0.03"}}
"""
Call = Callable[..., Any]


@pytest.fixture
def call(cli, device, forget_images, monkeypatch) -> Call:
    """Run a command on a device in its own folder of results; what it says as JSON, and nothing kept."""

    def run(where: str, *argv: str, code: int = 0) -> Any:
        forget_images()
        monkeypatch.setenv("BENCH_RESULTS", where)
        done = cli(*argv, "--device", where, "--json")
        assert done.code == code, done.err
        return json.loads(done.out)

    return run


@pytest.fixture
def both(call, device) -> Call:
    return lambda *argv, **more: [call(where, *argv, **more) for where in ("cpu", device)]


def judged(where: str, run_id: str) -> list[Any]:
    rows = RunStore(Path(where)).run(run_id).read().rows
    return [(r.image_id, r.outcome, r.clean_prediction, r.adversarial_prediction, r.image_sha256) for r in rows]


def figures(record: Any) -> Any:
    """What a record says that does not depend on rounding."""
    found = record["metrics"]
    return [found[name] for name in ("clean_accuracy", "robust_accuracy", "outcomes", "source_clean_accuracy")]


def commands() -> Iterator[str]:
    """Every command that takes ``--device``."""

    def walk(command: Any, path: tuple[str, ...]) -> Iterator[str]:
        if hasattr(command, "commands"):
            for name, below in command.commands.items():
                yield from walk(below, (*path, name))
        elif any("--device" in parameter.opts for parameter in command.params):
            yield " ".join(path)

    return walk(typer.main.get_command(app), ())


COVERED = {"run", "ladder", "train", "reproduce", "plan", "audit", "key-study", "perf", "doctor", "results gallery",
           "results pack", "results verify", "leaderboard check", "worker run", "worker ladder",
           "worker reproduce"}  # fmt: skip


def test_every_command_with_a_device_is_here():
    assert set(commands()) == COVERED


def test_run(both, device):
    here, there = both("run", *RUN, "--threat", "white-box")
    assert here["run_id"] == there["run_id"]
    assert figures(here) == figures(there)
    assert judged("cpu", here["run_id"]) == judged(device, here["run_id"])
    assert there["provenance"]["device"] == "Pretended Device"


def test_run_in_bfloat16(call, device):
    record = call(device, "run", *RUN, "--threat", "white-box", "--precision", "auto")
    assert record["spec"]["precision"] == "bf16"  # the device has it
    assert record["metrics"]["outcomes"]["error"] == 0
    assert record["run_id"] != call("cpu", "run", *RUN, "--threat", "white-box", "--precision", "auto")["run_id"]


def test_ladder(both):
    Path("rungs.yaml").write_text(yaml.safe_dump(RUNGS))
    here, there = both("ladder", "--defense", "key-full", *SMALL, "--limit", "4", "--ladder", "rungs.yaml")
    assert [(r["tier"], r["robust_accuracy"]) for r in here["rungs"]] == [
        (r["tier"], r["robust_accuracy"]) for r in there["rungs"]
    ]


AUDIT = ("audit", "--defense", "plain", *SMALL, "--images", "8")


def test_audit(call, device):
    found = call(device, *AUDIT)["findings"]
    assert len(found) > 10
    assert "could not be measured" not in json.dumps(found)  # what an operation between two devices would come to


@pytest.mark.slow
def test_audit_finds_what_it_finds_on_the_cpu(both):
    here, there = ([(f["check"], f["status"]) for f in found["findings"]] for found in both(*AUDIT))
    assert here == there


STUDY = ("key-study", *RUN, "--devices", "2", "--wrong-keys", "2", "--guesses", "4", "--draws", "1")


def test_key_study(call, device):
    found = call(device, *STUDY)
    assert len(found["matrix"]) == 4
    assert all(judged(device, cell["run_id"]) for cell in found["matrix"])


@pytest.mark.slow
def test_key_study_finds_what_it_finds_on_the_cpu(both):
    here, there = ([(c["run_id"], c["robust_accuracy"]) for c in found["matrix"]] for found in both(*STUDY))
    assert here == there


@pytest.mark.parametrize("defense", ["key-full", "key-lora"])
def test_train(call, device, defense, tmp_path, monkeypatch):
    """Both are trained from nothing, in homes of their own, and their weights are the same up to rounding."""
    made = {}
    for where in ("cpu", device):
        monkeypatch.setenv("BENCH_HOME", str(tmp_path / where))
        few = ("--set", "profile.base.recipe.steps=3", "--set", "profile.recipes.lora.steps=3", "--readers", "0")
        assert call(where, "train", "--defense", defense, *SMALL, *few)
        found = sorted((tmp_path / where / "cache" / "models").rglob("*.safetensors"), key=lambda p: p.stat().st_mtime)
        made[where] = [load_file(path) for path in found]
    assert len(made["cpu"]) == 2  # the base and what is fine-tuned from it
    torch.testing.assert_close(made["cpu"], made[device], rtol=1e-2, atol=1e-3)


def test_doctor(call, device):
    found = {f["about"]: f["finding"] for f in call(device, "doctor", *SMALL)}
    assert found["device"] == "pretend: Pretended Device, 34.4 GB of 68.7 GB free, has bf16"


def test_plan(both):
    Path("plain.yaml").write_text(yaml.safe_dump({"defense": "plain", "threat": "white-box", "attack": "pgd"}))
    here, there = (found["runs"][0] for found in both("plan", "plain.yaml", "--images", "4"))
    assert here["calls"] == there["calls"]
    assert here["measured"] is None
    assert there["measured"] > 0  # bytes, which only a device tells


PERF = ("perf", "--images", "4", "--workload", "apgd", "--steps", "2", "--eps", "0.03")


def test_perf(call, device):
    timed = [t["parts"]["apgd-ce"]["model_seconds"] for t in call(device, *PERF) if t["parts"]]
    assert timed
    assert min(timed) > 0


@pytest.mark.slow
def test_perf_finds_what_it_finds_on_the_cpu(both):
    here, there = ([(t["contestant"], t["robust"]) for t in timings] for timings in both(*PERF))
    assert here == there


def test_reproduce(cli, device):
    Path("plain.yaml").write_text(yaml.safe_dump({"defense": "plain", "threat": "white-box"}))
    Path("suite.yaml").write_text(SUITE)
    done = cli("reproduce", "cross-key", "--suite", "suite.yaml", "--device", device, "--workers", "1")
    assert done.code == 0, done.err
    assert len(list(Path("results").glob("*/record.json"))) == 1


def test_what_is_made_of_a_run(call, cli, device):
    """The CPU's run is confirmed on the device, from its images and by an attack there."""
    run_id = call("cpu", "run", "--defense", "plain", "--threat", "white-box", *PGD, "--limit", "4")["run_id"]
    where = ("--results", "cpu", "--device", device)
    assert "every verdict confirmed" in cli("results", "verify", run_id, *where).out
    done = cli("results", "gallery", run_id, "--images", "4", *where)
    assert done.code == 0, done.err
    done = cli("results", "pack", run_id, "--with-images", "--out", "run.zip", *where)
    assert done.code == 0, done.err
    done = cli("leaderboard", "check", "run.zip", "--device", device)
    assert (done.code, "accepted, confirmed" in done.out) == (0, True), done.out


@pytest.mark.parametrize("command", ["run", "ladder", "train", "audit", "key-study", "perf", "plan"])
def test_a_device_that_is_not_there_is_one_line(cli, command):
    Path("plain.yaml").write_text(yaml.safe_dump({"defense": "plain", "threat": "white-box"}))
    more = {"run": RUN, "ladder": RUN[:2], "train": RUN[:2], "audit": RUN[:2], "key-study": RUN[:2], "perf": (),
            "plan": ("plain.yaml",)}[command]  # fmt: skip
    more = (*more, "--threat", "white-box") if command == "run" else more
    for name in ("nowhere", "cuda:77"):
        done = cli(*command.split(), *more, "--device", name)
        (line,) = [text for text in done.err.splitlines() if text.startswith("bench: ")]
        assert done.code == 2, done.err
        assert line.startswith(f"bench: device '{name}' is not available here; expected cpu, or cuda on a machine")


@pytest.fixture
def everywhere(device, monkeypatch, tmp_path) -> str:
    """The device in processes that a command starts too."""
    site, root = tmp_path / "site", Path(__file__).parents[2]
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        f"import sys\nsys.path.insert(0, {str(root)!r})\n"
        "from tests.pretend.device import BACKEND\nBACKEND.used = True\n"
    )
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))
    return device


def test_run_judged_in_a_process_of_its_own(call, everywhere):
    """Which uses the device only in its forks, as a GPU must be."""
    here = call("cpu", "run", *RUN, "--threat", "white-box")
    there = call(everywhere, "run", *RUN, "--threat", "white-box", "--isolate")
    assert there["provenance"]["isolated"]
    assert figures(here) == figures(there)


@pytest.mark.slow
def test_run_by_two_processes(call, everywhere):
    argv = ("run", *RUN, "--set", "profile.shard_size=2", "--threat", "white-box")
    here, there = call("cpu", *argv), call(everywhere, *argv, "--workers", "2")
    assert judged("cpu", here["run_id"]) == judged(everywhere, there["run_id"])


def test_worker(call, cli, device):
    run_id = call("cpu", "run", *RUN, "--threat", "white-box")["run_id"]
    done = cli("worker", "run", *RUN, "--threat", "white-box", "--device", device, "--results", "shared")
    assert done.code == 0, done.err
    assert judged("shared", run_id) == judged("cpu", run_id)
    Path("rungs.yaml").write_text(yaml.safe_dump(RUNGS))
    Path("plain.yaml").write_text(yaml.safe_dump({"defense": "plain", "threat": "white-box"}))
    Path("suite.yaml").write_text(SUITE)
    small = ("--defense", "key-full", *SMALL, "--limit", "4")
    for argv in (("ladder", *small, "--ladder", "rungs.yaml"), ("reproduce", "cross-key", "--suite", "suite.yaml")):
        done = cli("worker", *argv, "--device", device, "--results", "shared")
        assert done.code == 0, done.err
    assert len(list(Path("shared").glob("*/record.json"))) == 1 + len(RUNGS["rungs"]) + 1

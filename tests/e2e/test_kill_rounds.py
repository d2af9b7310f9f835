"""Runs killed anywhere, also while a file is written: the same command completes each, and the verdicts are equal."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLING = Path(__file__).with_name("killing.py")


@pytest.mark.parametrize("rounds", [5, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_killed_run_completes_with_the_same_verdicts(cli, home, tmp_path, rounds):
    assert cli("run", "--defense", "plain", "--threat", "white-box", "--attack", "pgd", "--limit", "1").code == 0
    argv = [sys.executable, "-W", "ignore", str(KILLING), str(home), str(tmp_path / "rounds"), str(rounds), "0"]
    done = subprocess.run(argv, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stderr.splitlines()[-1])
    assert told["rounds"] == rounds
    assert told["failed"] == []
    assert all(told["kills"][way] > 0 for way in ("time", "change", "size")), told

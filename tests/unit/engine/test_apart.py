"""A model in a process of its own gives the answers of the model here, and ends with its parent."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from torch import nn

from bench.core.errors import BenchError, InputError
from bench.engine.answering import AnsweringHere
from bench.engine.apart import AnsweringApart
from bench.models.standalone import Makeup

START = """
import os, sys, time, torch
from torch import nn
from bench.engine.apart import AnsweringApart
from bench.models.standalone import Makeup
asked = AnsweringApart(Makeup("cpu", nn.Sequential(nn.Flatten(), nn.Linear(12, 3))), 4, 0)
asked.again(torch.rand(2, 3, 2, 2), 2, gradient=False)
print(open(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read(), flush=True)
time.sleep(600)
"""


def images(count=11, seed=0):
    return torch.rand(count, 3, 2, 2, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).eval()


@pytest.fixture
def apart(model):
    asked = AnsweringApart(Makeup("cpu", model), 4, 0)
    yield asked
    asked.close()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_version_of_every_image_gets_its_own_answer(model, apart, count):
    versions = [images(seed=seed) for seed in range(count)]
    for here, there in zip(AnsweringHere(model, 4).answers(versions), apart.answers(versions), strict=True):
        assert torch.equal(here, there)
    assert torch.allclose(apart.again(versions[0], 3, gradient=True), model(versions[0]), atol=1e-6)


def test_what_goes_wrong_there_is_said_in_one_line(apart):
    with pytest.raises(InputError, match=r"^in the process that judges the model: RuntimeError: .*--no-isolate$"):
        apart.answers([torch.rand(4, 3, 5, 5)])
    assert apart.again(images(2), 2, gradient=False).shape == (2, 3)  # it goes on


def test_answers_that_are_no_logits_are_refused():
    asked = AnsweringApart(Makeup("cpu", nn.Flatten(0)), 4, 0)
    with pytest.raises(InputError, match="expected logits"):
        asked.answers([images(4)])
    asked.close()


def test_a_process_that_dies_is_an_error_of_one_line(apart):
    apart.close()
    with pytest.raises(BenchError, match="ended unexpectedly; run the same command again"):
        apart.answers([images(4)])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_process_ends_with_a_parent_that_is_killed():
    command = [sys.executable, "-W", "ignore", "-c", START]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        os.kill(parent.pid, signal.SIGKILL)
    while _runs(child):
        time.sleep(0.05)  # a process that stays lets the test hang, and fail


def _runs(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False

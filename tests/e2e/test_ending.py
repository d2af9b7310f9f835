"""How the process of a command ends: with the exit code of the command, whatever its libraries do at the end."""

import os
import signal
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from bench.cli.entry import console
from tests.conftest import BENCH

# A native library whose destructor aborts: called when the process ends by exit(), after the interpreter.
ABORTS = """
import ctypes, resource
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
libc = ctypes.CDLL(None)
getattr(libc, "__cxa_atexit")(libc.abort, None, None)
"""
FAKE = """
import atexit, multiprocessing, sys, threading, time, types
def main():
    {body}
sys.modules["bench.cli.main"] = types.SimpleNamespace(main=main)
from bench.cli.entry import console
console()
"""


def python(code: str, *argv: str, **pipes) -> subprocess.CompletedProcess[str]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **pipes}
    env = {**os.environ, "PYTHONUNBUFFERED": ""}  # so that there is something to flush at the end
    command = [sys.executable, "-W", "ignore", "-c", code, *argv]
    return subprocess.run(command, text=True, check=False, timeout=120, env=env, **pipes)


def test_a_library_that_aborts_at_the_end_does_not_change_how_a_command_ended(home, cli):
    done = python(ABORTS + BENCH[-1], "list")
    assert (done.returncode, done.stdout, done.stderr) == (0, cli("list").out, "")
    wrong = python(ABORTS + BENCH[-1], "list", "nothing")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert len(wrong.stderr.splitlines()) == 1
    plain = python(ABORTS + "from bench.cli.main import main; main()", "list")
    assert plain.returncode == -signal.SIGABRT  # without the entry point


def test_users_start_the_command_where_the_tests_do():
    (script,) = entry_points(group="console_scripts", name="bench")
    assert script.load() is console


@pytest.mark.slow
def test_a_run_whose_library_aborts_at_the_end_is_complete(home, cli, tmp_path):
    argv = ["run", "--defense", "plain", "--limit", "16", "--results", "results", "--json"]
    done = python(ABORTS + BENCH[-1], *argv)
    assert done.returncode == 0, done.stderr
    assert not [p.name for p in tmp_path.rglob("*") if p.name.endswith((".part", ".claim"))]
    assert cli(*argv).out == done.stdout


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        ("sys.exit()", 0, ""),
        ("pass", 0, ""),
        ("sys.exit(143)", 143, ""),
        ("sys.exit('a text')", 1, "a text\n"),
        ("raise ValueError('a defect')", 1, "ValueError: a defect\n"),
        ("raise KeyboardInterrupt", 130, "KeyboardInterrupt\n"),
    ],
)
def test_exit_codes_and_texts_are_those_of_python(body, code, says):
    done = python(ABORTS + FAKE.format(body=body))
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.endswith(says)
    assert bool(done.stderr) == bool(says)


def test_threads_processes_and_callbacks_end_before_the_process():
    work = "\n    ".join(
        (
            "from concurrent.futures import ThreadPoolExecutor",
            "atexit.register(print, 'callback')",
            "threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()",
            "threading.Thread(target=lambda: (time.sleep(0.2), print('thread'))).start()",
            "ThreadPoolExecutor(1).submit(lambda: (time.sleep(0.1), print('pool')))",
            "context = multiprocessing.get_context('fork')",
            "context.Process(target=lambda: (time.sleep(0.4), print('process', flush=True))).start()",
            "context.Process(target=time.sleep, args=(1000,), daemon=True).start()",
            "lock = context.Lock()  # a named semaphore, which the finalizers of multiprocessing remove",
            "print('said')",
        )
    )
    done = python(ABORTS + FAKE.format(body=f"sys.stdout.reconfigure(line_buffering=True)\n    {work}"))
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.split()) == ["callback", "pool", "process", "said", "thread"]


def test_output_that_nobody_reads_is_no_error_at_the_end():
    end, pipe = os.pipe()
    os.close(end)
    with os.fdopen(pipe, "w") as gone:
        done = python(ABORTS + FAKE.format(body="atexit.register(print, 'late')"), stdout=gone)
    assert (done.returncode, done.stderr) == (0, "")
    with open("/dev/full", "w") as full:
        done = python(ABORTS + FAKE.format(body="atexit.register(print, 'late')"), stdout=full)
    assert done.returncode == 2

"""One home for the whole session: the profile's real models are trained once, on real digits.

Workers of pytest-xdist have a home each and the trained models in common: the first worker that needs a model trains
it, and the others wait at its lock. A test that must see a training takes a home of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest

from bench.cli.main import main
from bench.core.registry import registry

WORKER = os.environ.get("PYTEST_XDIST_WORKER")
if WORKER:  # before anything imports torch: workers that use all cores each are in each other's way
    os.environ.setdefault("OMP_NUM_THREADS", "1")

hypothesis.settings.register_profile("bench", deadline=None, derandomize=True)
hypothesis.settings.load_profile("bench")

PLUGINS = Path(__file__).parent / "plugins"
# A background job of a shell has SIGINT ignored, and so would what it starts.
_HEAR_SIGINT = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
BENCH = [sys.executable, "-W", "ignore", "-c", f"{_HEAR_SIGINT}; from bench.cli.entry import console; console()"]


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


Cli = Callable[..., Done]


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BENCH_HOME of the session; under pytest-xdist of the worker, with the models that all workers share."""
    if given := os.environ.get("KEYBENCH_TEST_HOME"):  # of the session that started this one
        return Path(given)
    home = tmp_path_factory.mktemp("home")
    if WORKER:
        models = tmp_path_factory.getbasetemp().parent / "models"
        models.mkdir(exist_ok=True)
        (home / "cache").mkdir()
        (home / "cache" / "models").symlink_to(models)
    return home


@pytest.fixture
def home(shared_home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The session's home as the environment names it, and an empty working folder."""
    for name in list(os.environ):
        if name.startswith("BENCH_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("BENCH_HOME", str(shared_home))
    monkeypatch.chdir(tmp_path)
    return shared_home


@pytest.fixture
def own_home(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own, in which nothing is trained yet."""
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "own"))
    return tmp_path / "own"


@pytest.fixture
def cli(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run the command in this process: argv in; exit code, standard output and standard error out."""

    def call(*argv: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["bench", *argv])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        said = capsys.readouterr()
        return Done(int(stop.value.code or 0), said.out, said.err)

    return call


@pytest.fixture
def spawn(home: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the command as a separate process; processes that a test leaves running are stopped."""
    started: list[subprocess.Popen[str]] = []

    def start(*argv: str, **environment: str) -> subprocess.Popen[str]:
        env = {**os.environ, **environment}
        started.append(
            subprocess.Popen([*BENCH, *argv], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        )
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def forget_images(home: Path) -> Callable[[], None]:
    """Forget the kept adversarial images, so that an attack really runs again."""
    return lambda: shutil.rmtree(home / "cache" / "adversarial", ignore_errors=True)


@pytest.fixture
def outsiders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The plug-ins of tests/plugins, installed through the same door as everybody's: entry points."""
    site = tmp_path_factory.mktemp("site")
    about = site / "outsiders-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: outsiders\nVersion: 1.0\n")
    shutil.copy(PLUGINS / "entry_points.txt", about)
    for file in PLUGINS.glob("*.py"):
        shutil.copy(file, site)
    monkeypatch.syspath_prepend(str(site))
    registry.cache_clear()
    yield site
    registry.cache_clear()

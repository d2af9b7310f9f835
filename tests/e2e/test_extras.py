"""Packages that only some plug-ins need: named with their extra before anything starts."""

import importlib.util
import re

import pytest

from bench.core.extras import EXTRAS

RUN = ["run", "--threat", "white-box", "--limit", "5"]
NEED = {
    "pyffx": ["run", "--defense", "key-full", "--threat", "non-adaptive", "--set", "defense.transform=ffx"],
    "pyautoattack": [*RUN, "--defense", "plain", "--attack", "autoattack-reference"],
    "ray": [*RUN, "--defense", "plain", "--backend", "ray", "--address", "local"],
    "robustbench": [*RUN, "--defense", "plain", "--ids", "robustbench-5000"],
}


@pytest.fixture
def without(monkeypatch):
    """Hides packages from the search for modules, as if they were not installed."""
    find = importlib.util.find_spec

    def hide(*packages):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name in packages else find(name, *a))

    return hide


@pytest.mark.parametrize("package", NEED)
def test_a_missing_package_is_named_with_its_extra_before_anything_is_trained(cli, home, without, package, monkeypatch):
    monkeypatch.setenv("BENCH_HOME", str(home / "empty"))
    without(package)
    done = cli(*NEED[package], "--results", str(home / "results"))
    assert done.code == 2
    assert re.search(rf"needs the package {package}, .*pip install 'keybench\[{EXTRAS[package]}\]'", done.err)
    assert done.err.count("\n") == 1
    assert not (home / "empty").exists()
    assert not (home / "results").exists()


def test_the_rest_works_and_is_listed(cli, without):
    without(*EXTRAS)
    done = cli("list")
    assert done.code == 0
    assert len(re.findall("needs the package", done.out)) == 3
    assert "keybench[ffx]" in done.out
    assert cli("perf", "--peers", "official").code == 2
    found = cli("doctor")
    assert found.code == 0
    assert len(re.findall(r"^ok .*optional: .* needs the package", found.out, re.MULTILINE)) == len(
        set(EXTRAS.values())
    )

"""Plug-ins that break their contract are refused in one line, before anything is trained or written."""

import json

import pytest

pytestmark = pytest.mark.usefixtures("outsiders")

WRONG = {
    "keyless": r"transform keyless ignores its key: 8 keys give the same images",
    "loud": r"transform loud leaves \[0, 1\]: it gives values from -0\.5 to 1\.5",
    "in-place": r"transform in-place changes its input in place",
    "smaller": r"transform smaller makes 3 x 3 x 31 x 32 float32 of 3 x 3 x 32 x 32 float32; expected the same shape",
    "double": r"transform double makes .* float64 of .* float32; expected the same shape and dtype",
    "not-finite": r"transform not-finite gives values that are not finite",
    "forgetful": r"transform forgetful gives other images the second time",
    "one-way": r"transform one-way has an inverse that is off by",
    "failing": r"transform failing cannot be used: IndexError",
    "pixel-shuffle+keyless": r"transform keyless ignores its key",
    "negative-positive+negative-positive": r"transform negative-positive\+negative-positive ignores its key",
}


@pytest.fixture
def run(cli, tmp_path, monkeypatch):
    """`bench run` with a separate home."""
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))

    def call(*argv: str):
        return cli("run", *argv, "--results", str(tmp_path / "results"))

    return call


def untouched(tmp_path) -> bool:
    return not any((tmp_path / folder).exists() for folder in ("home", "results"))


@pytest.mark.parametrize("name", WRONG)
def test_a_transform_that_breaks_a_promise_is_refused_before_training(run, tmp_path, name):
    import re

    done = run("--defense", "key-full", "--threat", "white-box", "--set", f"defense.transform={name}")
    assert done.code == 2
    assert re.search(WRONG[name], done.err), done.err
    assert len(done.err.strip().splitlines()) == 1
    assert untouched(tmp_path)


def test_a_mistyped_attribute_of_a_threat_is_refused_before_training(run, tmp_path):
    done = run("--defense", "key-full", "--threat", "mistyped")
    assert done.code == 2
    assert "threat Mistyped sets 'acces', which no threat has; did you mean access?" in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert untouched(tmp_path)


@pytest.mark.parametrize(
    ("attack", "said"),
    [
        ("baseless", "Baseless has no norms, which Attack requires"),
        ("foreign", "Foreign does not inherit from Attack; expected a class below bench.core.plugins.Attack"),
        ("function", "function does not inherit from Attack"),
        ("idle", "Idle has no norms and no perturb, which Attack requires"),
    ],
)
def test_an_attack_without_its_base_or_without_what_it_requires_is_refused(run, tmp_path, attack, said):
    done = run("--defense", "key-full", "--threat", "white-box", "--attack", attack)
    assert done.code == 2
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert untouched(tmp_path)


def test_the_list_shows_why(cli):
    listed = {(one["kind"], one["name"]): one for one in json.loads(cli("list", "--json").out)}
    assert "did you mean access" in listed["threats", "mistyped"]["error"]
    assert "has no norms and no perturb" in listed["attacks", "idle"]["error"]
    assert listed["transforms", "honest"]["error"] is None


def test_a_transform_that_keeps_its_promises_is_taken(cli):
    from bench.core.binding import bind_transforms
    from bench.core.key import Key

    names = ("honest", "pixel-shuffle+honest", "honest+honest+honest")
    for name in names:
        assert bind_transforms(name, Key.from_seed(0, "test"), block_size=4, image_shape=(3, 32, 32))

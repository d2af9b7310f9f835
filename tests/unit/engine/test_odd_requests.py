"""Every value of a profile, a setting, a ladder replaced by odd ones: taken, or refused in one line."""

import copy
from importlib import resources

import pytest
import yaml

from bench.core.errors import BenchError
from bench.core.registry import registry
from bench.engine.request import make_request
from bench.engine.resolve import resolve
from bench.store.keyring import Keyring
from bench.studies.ladder import load_ladder

ODD = [None, True, -1, 0, 10**30, 1e308, -0.5, float("nan"), float("inf"), "", "x", "\u202e", "a" * 5000, "1e999999",
       [], {}, [[]], {"a": {"b": []}}, ["x", 3], {3: 4}]  # fmt: skip


def places(data, path=()):
    """Every place in plain data but the root."""
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for name, value in inner:
        yield (*path, name)
        yield from places(value, (*path, name))


def put(data, path, value):
    data = copy.deepcopy(data)
    at = data
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = value
    return data


def packaged(folder, name):
    return yaml.safe_load((resources.files("bench") / folder / f"{name}.yaml").read_text())


def refusals(tmp_path, data, ask):
    """One line for each odd value that is refused."""
    said, defects, file = [], [], tmp_path / "odd.yaml"
    for path in places(data):
        for value in ODD:
            file.write_text(yaml.safe_dump(put(data, path, value)))
            try:
                ask(str(file))
            except BenchError as error:
                said.append(str(error))
            except Exception as error:
                defects.append((path, str(value)[:40], repr(error)[:200]))
    assert defects == []
    assert said
    assert not [line for line in said if "\n" in line]


def asked(tmp_path, **values):
    return resolve(make_request({"defense": "key-full", "threat": "adaptive", **values}), Keyring(tmp_path / "keys"))


@pytest.mark.parametrize("name", [pytest.param("imagenet", marks=pytest.mark.slow), "digits"])
def test_a_profile_with_an_odd_value(tmp_path, name):
    refusals(tmp_path, packaged("profiles", name), lambda file: asked(tmp_path, profile=file, limit=4))


def test_a_ladder_with_an_odd_value(tmp_path):
    refusals(tmp_path, packaged("ladders", "standard"), load_ladder)


@pytest.mark.parametrize("kind", ["attacks", "defenses", "threats"])
def test_an_odd_setting(tmp_path, kind):
    section = kind.removesuffix("s")
    said = []
    for name in registry(kind).names():
        options = list(getattr(registry(kind).load(name), "__dataclass_fields__", {}))
        for option in [*options, "none", "", "a.b", "steps"]:
            for value in ODD:
                try:
                    asked(tmp_path, limit=4, settings={f"{section}.{option}": value}, **{section: name})
                except BenchError as error:
                    said.append(str(error))
    assert said
    assert not [line for line in said if "\n" in line]


@pytest.mark.parametrize(
    "field", ["eps", "norm", "limit", "seed", "device", "base", "ids", "attack", "profile", "keys"]
)
def test_an_odd_flag(tmp_path, field):
    said = []
    for value in ODD:
        try:
            asked(tmp_path, **{"limit": 4, field: value})
        except BenchError as error:
            said.append(str(error))
    assert said
    assert not [line for line in said if "\n" in line]

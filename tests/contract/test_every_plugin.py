"""Contract of every registered plug-in, whatever its kind."""

import ast
from pathlib import Path

import pytest

import bench
from bench.core.names import KINDS
from bench.core.plugins import BASES
from bench.core.plugins.contract import missing
from bench.core.registry import registry

ALL = [(kind, name) for kind in KINDS for name in registry(kind).names()]


@pytest.mark.parametrize(("kind", "name"), ALL, ids=["/".join(one) for one in ALL])
def test_every_plugin_inherits_from_its_base_and_lacks_nothing(kind, name):
    plugin = registry(kind).load(name)
    assert issubclass(plugin, BASES[kind])
    assert missing(plugin) == []
    assert (plugin.__doc__ or "").strip(), "the first line is what `bench list` shows"


def test_no_attribute_of_a_plugin_is_probed_for():
    """Every one has a default on its base, so nobody asks whether it is there."""
    declared = set().union(*(base.__terms__.declared for base in BASES.values()))
    probes = []
    for path in Path(bench.__file__).parent.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(call, ast.Call)
                and isinstance(call.func, ast.Name)
                and call.func.id in ("getattr", "hasattr")
            ):
                name = call.args[1]
                if isinstance(name, ast.Constant) and name.value in declared:
                    probes.append(f"{path}:{call.lineno} {name.value}")
    assert not probes

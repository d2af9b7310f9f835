"""Contract of every registered plug-in, whatever its kind."""

import pytest

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

"""The canonical form of a Spec."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.core.spec import PluginSpec, Spec
from bench.engine.request import Request
from bench.engine.resolve import resolve
from bench.store.keyring import Keyring

SHA = "ab" * 32


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    return resolve(Request("plain", "white-box"), Keyring(tmp_path)).spec


def test_a_part_without_a_value_is_not_written(spec: Spec) -> None:
    bare = spec.model_copy(update={"images": None})
    assert "images" not in bare.model_dump()
    assert "code" not in bare.model_dump()["attack"]
    assert "images" not in bare.model_dump_json()
    assert Spec.model_validate(bare.model_dump(mode="json")) == bare


def test_a_part_with_a_value_is_written_and_makes_another_run(spec: Spec) -> None:
    other = spec.model_copy(update={"images": SHA})
    edited = spec.model_copy(update={"attack": PluginSpec(name="pgd", options=spec.attack.options, code=SHA)})
    assert other.model_dump()["images"] == SHA
    assert Spec.model_validate_json(other.model_dump_json()) == other
    assert len({spec.run_id, other.run_id, edited.run_id}) == 3

"""Nothing half-written, damaged or forged is read as whole."""

import json
import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.checks.statistics import interval
from bench.core.budget import Budget
from bench.core.cost import Meter
from bench.core.errors import CorruptArtifactError, InputError, KeyringError, StorageError
from bench.core.nouns import Outcome
from bench.store.candidates import CandidateStore, Made
from bench.store.files import check_writable, write_whole
from bench.store.keyring import Keyring
from bench.store.models import ModelCache
from bench.store.runs import RunStore
from bench.store.verdicts import Row, read_rows, rows_digest, write_rows

ROWS = [
    Row("a", 1, 1, 1, Outcome.ROBUST, 0.1, "pgd", 1, "a" * 64),
    Row("b", 2, 2, 3, Outcome.FOOLED, 0.1, "pgd", 2, "b" * 64),
    Row("c", 2, None, None, Outcome.ERROR, None, "none", None, None),
]


def test_keys_are_kept_for_their_owner_alone(tmp_path):
    ring = Keyring(tmp_path / "keys")
    key = ring.new("alice")
    path = tmp_path / "keys" / "alice.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ring.read("alice") == key == ring.find(key.fingerprint)
    with pytest.raises(KeyringError, match="exists already"):
        ring.new("alice")
    assert ring.read("alice") == key
    for mode in (0o640, 0o604, 0o660):
        path.chmod(mode)
        with pytest.raises(KeyringError, match=f"mode {mode:04o}, so others can read it"):
            ring.read("alice")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a" * 65, "né"])
def test_a_key_name_is_no_path(tmp_path, name):
    with pytest.raises(KeyringError, match="cannot be used"):
        Keyring(tmp_path).new(name)
    assert list(tmp_path.rglob("*")) == []


def test_a_damaged_key_file_is_refused_without_being_shown(tmp_path):
    ring = Keyring(tmp_path)
    secret = ring.new("bob").reveal()
    (tmp_path / "bob.key").write_text(secret[:-1] + "x")
    with pytest.raises(KeyringError, match="64 hexadecimal digits") as error:
        ring.read("bob")
    assert secret[:8] not in str(error.value)


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_whole(path, b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="no space left"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_looking_whether_a_folder_can_be_written_leaves_no_trace(tmp_path):
    check_writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"not a directory|file exists"):
        check_writable(tmp_path / "file")


def test_verdicts_come_back_as_they_were_and_the_same_rows_give_the_same_bytes(tmp_path):
    write_rows(tmp_path / "1.parquet", ROWS, {"n": 1})
    write_rows(tmp_path / "2.parquet", ROWS, {"n": 1})
    rows, about = read_rows(tmp_path / "1.parquet")
    assert about == {"n": 1}
    assert [r.outcome for r in rows] == [r.outcome for r in ROWS]
    assert rows_digest(rows) == rows_digest(read_rows(tmp_path / "2.parquet")[0])
    assert (tmp_path / "1.parquet").read_bytes() == (tmp_path / "2.parquet").read_bytes()


@given(st.integers(1, 400))
def test_a_truncated_verdict_file_is_refused(cut):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "v.parquet"
        write_rows(path, ROWS)
        whole = path.read_bytes()
        path.write_bytes(whole[: -min(cut, len(whole))])
        with pytest.raises(CorruptArtifactError, match="cannot be read"):
            read_rows(path)


def test_a_shard_with_an_error_is_not_finished(tmp_path):
    run = RunStore(tmp_path).run("0" * 16)
    run.write_shard(0, ROWS[:2], {})
    run.write_shard(1, ROWS, {})
    images = [(row.image_id, row.label) for row in ROWS]
    assert run.shard(0, images[:2]) is not None
    assert run.shard(1, images) is None
    assert run.shard(2, images) is None


def test_a_run_belongs_to_one_process(tmp_path):
    run = RunStore(tmp_path).run("0" * 16)
    with run.locked(), pytest.raises(InputError, match="is being made by process"), run.locked():
        pass
    with run.locked():
        pass


def test_cached_models_are_checked_on_every_read(tmp_path):
    built = []

    def build(folder):
        built.append(1)
        (folder / "model.safetensors").write_bytes(b"weights")

    cache = ModelCache(tmp_path)
    folder, digest = cache.fetch({"a": 1}, build)
    assert cache.fetch({"a": 1}, build) == (folder, digest)
    assert built == [1]
    assert cache.fetch({"a": 2}, build)[1] != digest
    (folder / "model.safetensors").write_bytes(b"weighty")
    with pytest.raises(CorruptArtifactError, match="run again with --rebuild"):
        cache.fetch({"a": 1}, build)
    assert ModelCache(tmp_path, rebuild=True).fetch({"a": 1}, build) == (folder, digest)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(CorruptArtifactError, match=r"manifest\.json"):
        cache.fetch({"a": 1}, build)


def test_a_model_whose_making_fails_is_not_there(tmp_path):
    def build(folder):
        (folder / "half").write_bytes(b"x")
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        ModelCache(tmp_path).fetch({}, build)
    assert list(tmp_path.iterdir()) == []


def test_a_model_is_made_by_one_at_a_time_also_where_making_fails(tmp_path):
    inside, most = [], []

    def build(folder):
        inside.append(folder)
        most.append(len(inside))
        time.sleep(0.001)
        inside.pop()
        raise ValueError("stop")

    def wanted(_):
        with pytest.raises(ValueError, match="stop"):
            ModelCache(tmp_path).fetch({}, build)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(wanted, range(400)))
    assert len(most) == 400
    assert max(most) == 1


def test_kept_images_are_checked_and_failed_ones_not_kept(tmp_path):
    store = CandidateStore(tmp_path)
    made = Made(torch.rand(2, 3, 4, 4), torch.zeros(2, dtype=torch.bool), ("careful",), {"pgd": Meter(5, 3)}, 0.5)
    clean, budget = torch.rand(2, 3, 4, 4), Budget.parse("l2:1")
    store.write("ab" * 32, made, clean, budget)
    back = store.read("ab" * 32, clean, budget)
    assert back is not None
    assert torch.equal(back.images, made.images)
    assert (back.warnings, back.meters, back.reused) == (("careful",), {"pgd": Meter(5, 3)}, True)
    (path,) = tmp_path.rglob("*.images")
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(CorruptArtifactError, match="are damaged"):
        store.read("ab" * 32, clean, budget)
    store.write("cd" * 32, Made(made.images, torch.tensor([True, False])), clean, budget)
    assert store.read("cd" * 32, clean, budget) is None


def test_intervals_against_published_figures():
    """Wilson for 81 of 263: 0.2553 to 0.3662 (Newcombe, Statistics in Medicine 17, 1998, table I, method 3)."""
    low, high = interval(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    assert interval(0, 20) == (0.0, pytest.approx(0.1684, abs=1e-4))  # same table, Clopper-Pearson
    assert interval(29, 29)[0] == pytest.approx(0.8806, abs=1e-4)
    assert json.dumps(interval(5, 10))

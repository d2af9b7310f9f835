"""A run that goes on after damage: the damaged part is named and made again, the rest is kept; verdicts are equal."""

import json
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.engine.early_stop import sequence_of
from bench.engine.evaluate import run as evaluate
from bench.engine.means import Means
from bench.engine.request import Request
from bench.engine.resolve import resolve
from bench.engine.summarise import metrics_of
from bench.store.home import Home
from bench.store.keyring import Keyring
from bench.store.record import write_record
from bench.store.runs import RunFolder, RunStore
from bench.store.verdicts import images_digest, rows_digest, write_rows

RUN = ("run", "--defense", "plain", "--threat", "white-box", "--attack", "pgd", "--set", "attack.steps=3",
       "--set", "profile.shard_size=8", "--limit", "24")  # fmt: skip


@pytest.fixture
def whole(cli):
    """A complete run of three shards."""
    done = cli(*RUN, "--json")
    assert done.code == 0, done.err
    return RunStore(Path("results")).run(json.loads(done.out)["run_id"])


def unfinished(folder, kept=(0, 1, 2)):
    """Put a run back to where its shards are finished and its record is not written."""
    rows = list(folder.read().rows)
    for index in kept:
        about = {"meters": [], "seconds": 0.0, "reused": True, "warnings": []}
        folder.write_shard(index, rows[8 * index : 8 * index + 8], about)
    folder.record_path.unlink()
    folder.verdicts_path.unlink()
    return folder.path / "shards"


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(bytes(data))


def test_a_damaged_shard_is_named_and_it_alone_is_made_again(cli, whole):
    before = whole.read()
    shards = unfinished(whole)
    flip(shards / "00001.parquet", 300)
    done = cli(*RUN, "--json")
    assert done.code == 0, done.err
    (warning,) = [line for line in done.err.splitlines() if "warning" in line]
    assert "shard 1 is made again: verdict file" in warning
    assert json.loads(done.out)["cost"]["shards_resumed"] == 2
    assert whole.read().rows == before.rows
    assert whole.read().record.digests == before.record.digests


def test_a_shard_that_lacks_images_or_is_anothers_is_made_again(cli, whole):
    before = whole.read()
    shards = unfinished(whole, kept=(0, 2))
    whole.write_shard(0, list(before.rows[:7]), {"meters": [], "seconds": 0.0, "reused": True, "warnings": []})
    shutil.copy(shards / "00002.parquet", shards / "00001.parquet")
    done = cli(*RUN, "--json")
    assert [line.split(":")[1].split()[:2] for line in done.err.splitlines() if "warning" in line] == [
        ["shard", "0"],
        ["shard", "1"],
    ]
    assert json.loads(done.out)["cost"]["shards_resumed"] == 1
    assert whole.read().rows == before.rows


def test_verify_takes_the_images_from_data_and_spec(cli, whole):
    """Rows left out consistently: every figure and digest fits, but not what the Spec asks for."""
    record, rows = whole.read().record, [row for row in whole.read().rows if row.robust]
    assert 0 < len(rows) < 24
    metrics = metrics_of(rows, sequence_of(record.spec, len(rows), len(rows)))
    digests = record.digests.model_copy(update={"verdicts": rows_digest(rows), "data": images_digest(rows)})
    write_rows(whole.verdicts_path, rows)
    write_record(whole.record_path, record.model_copy(
        update={"metrics": metrics, "digests": digests, "population": len(rows)}))  # fmt: skip
    assert cli("results", "show", record.run_id).code == 0
    done = cli("results", "verify", record.run_id)
    assert done.code == 1
    assert f"population: record has {len(rows)} images, data and spec 24" in done.out
    assert f"verdicts: record has {len(rows)}, expected 24" in done.out
    assert not (whole.path / "confirmation.json").exists()


def test_a_finished_record_is_never_written_again(cli, whole):
    files = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in whole.path.iterdir()}
    done = cli(*RUN, "--json")
    assert done.code == 0, done.err
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in whole.path.iterdir()} == files


class Overtaken(RunStore):
    """A store in which another process ends the run just before this one has its lock."""

    def __init__(self, root, other):
        super().__init__(root)
        self._other = other

    def run(self, run_id):
        other = self._other

        class Folder(RunFolder):
            @contextmanager
            def locked(self):
                other()
                with super().locked():
                    yield

        return Folder(self.root / run_id)


def test_who_comes_late_returns_the_finished_record(home, tmp_path):
    job = resolve(Request(defense="plain", threat="white-box", attack="pgd", limit=8), Keyring(home / "keys"))
    first = []
    other = Means(RunStore(tmp_path / "results"), Home(home))
    late = Means(Overtaken(tmp_path / "results", lambda: first.append(evaluate(job, other))), Home(home))
    found = evaluate(job, late)
    assert found.complete
    assert found.record == first[0].record
    assert not first[0].complete

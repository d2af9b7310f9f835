"""Published runs are read as run folders are: same records, rows, pictures; damage is named and hides no other run."""

import json
import shutil
import struct
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bench.core.errors import BenchError, CorruptArtifactError, InputError, UnknownNameError
from bench.store.confirmations import write_confirmation
from bench.store.publish import publish
from bench.store.runs import RunStore
from bench.submissions.intake import read_all
from tests.submissions import add_picture, honest_rows, parquet_bytes, write_run

FILES = ("record.json", "verdicts.parquet", "gallery.json", "gallery.png", "confirmation.json")


@pytest.fixture
def folders(tmp_path) -> Path:
    """Three runs in folders of their own: one with a picture, one confirmed."""
    results = tmp_path / "folders"
    one, two, _ = (write_run(results, honest_rows(6 * n), spec={"seed": 0, "batch_size": n}) for n in (1, 2, 3))
    add_picture(one)
    write_confirmation(two, RunStore(results).run(two.name).read().record, ["attack: cannot be checked"])
    return results


@pytest.fixture
def published(folders, tmp_path) -> Path:
    """The same runs, and nothing but their collection."""
    publish(RunStore(folders), "mine", RunStore(folders).ids())
    shutil.move(folders / "published", tmp_path / "results" / "published")
    return tmp_path / "results"


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_published_run_is_the_run(folders, published):
    one, other = RunStore(folders), RunStore(published)
    assert len(one.ids()) == 3
    assert one.ids() == other.ids()
    for run_id in one.ids():
        assert other.run(run_id).complete
        assert not other.run(run_id).path.exists()
        assert other.run(run_id).read() == one.run(run_id).read()
        assert other.run(run_id).summary() == one.run(run_id).read().record
        for name in FILES:
            assert other.run(run_id).file(name) == one.run(run_id).file(name), name
    mine, theirs = read_all(folders), read_all(published)
    assert mine[1] == theirs[1] == []
    for a, b in zip(mine[0], theirs[0], strict=True):
        assert (a.record, a.rows, a.confirmation) == (b.record, b.rows, b.confirmation)
        assert (a.gallery and a.gallery.caption) == (b.gallery and b.gallery.caption)
    assert sum(e.gallery is not None for e in theirs[0]) == sum(e.confirmation is not None for e in theirs[0]) == 1


def test_the_same_runs_give_the_same_bytes_in_any_order_and_any_steps(folders, published):
    ids, store = RunStore(folders).ids(), RunStore(folders)
    publish(store, "mine", ids[2:])
    done = publish(RunStore(folders), "mine", ids[:2])
    assert (done.runs, done.added, done.left_out) == (ids, ids[:2], [])
    assert contents(folders / "published" / "mine") == contents(published / "published" / "mine")
    assert done.size == sum(map(len, contents(done.folder).values()))
    again = publish(RunStore(folders), "mine", ids)
    assert (again.runs, again.added) == (ids, [])
    assert len(contents(done.folder)) <= 6


def test_a_run_folder_goes_before_its_publication(folders, published):
    run_id = RunStore(published).ids()[0]
    shutil.copytree(folders / run_id, published / run_id)
    assert RunStore(published).run(run_id).published is None
    (published / run_id / "record.json").write_text("{}")
    with pytest.raises(CorruptArtifactError, match=r"record\.json"):
        RunStore(published).run(run_id).read()
    assert RunStore(published).run(RunStore(published).ids()[1]).read()


def test_a_confirmation_made_after_publishing_counts(published):
    store = RunStore(published)
    run_id = next(i for i in store.ids() if store.run(i).file("confirmation.json") is None)
    write_confirmation(published / run_id, store.run(run_id).read().record, [])
    taken = {e.record.run_id: e for e in read_all(published)[0]}
    assert taken[run_id].confirmation
    assert {e.record.run_id: e for e in read_all(published, folders=False)[0]}[run_id].confirmation is None


def test_one_damaged_record_is_named_and_hides_no_other(published, cli):
    ids, path = RunStore(published).ids(), published / "published" / "mine" / "records.jsonl"
    lines = path.read_bytes().splitlines()
    assert ids[1].encode() in lines[1]
    path.write_bytes(b"\n".join([lines[0], lines[1].replace(b'"robust":', b'"robust":9'), lines[2]]) + b"\n")
    with pytest.raises(CorruptArtifactError, match=rf"{ids[1]} in .*records\.jsonl: metrics: .*add up"):
        RunStore(published).run(ids[1]).read()
    assert RunStore(published).run(ids[0]).read()
    done = cli("results", "list", "--results", str(published))
    assert done.code == 2
    assert ids[1] in done.err
    assert "does not have the SHA-256" in done.err
    assert ids[0] in done.out
    assert ids[2] in done.out
    assert cli("results", "show", ids[0], "--results", str(published)).code == 0
    assert cli("results", "show", ids[1], "--results", str(published)).code == 2
    taken, refused = read_all(published)
    assert [e.record.run_id for e in taken] == [ids[0], ids[2]]
    assert {r.run for r in refused} == {ids[1], "published/mine"}


def test_damaged_verdicts_are_never_read_as_whole(published):
    """Rows of one run in the place of another's: the digest in the record tells."""
    store = RunStore(published)
    ids, path = store.ids(), published / "published" / "mine" / "verdicts.parquet"
    from bench.store.parquet import encode_runs
    from bench.store.verdicts import columns_of

    rows = {i: columns_of(store.run(i).read().rows) for i in ids}
    path.write_bytes(encode_runs({ids[0]: rows[ids[1]], ids[1]: rows[ids[1]]}))
    with pytest.raises(CorruptArtifactError, match="does not have the digest"):
        RunStore(published).run(ids[0]).summary()
    assert RunStore(published).run(ids[1]).summary()
    with pytest.raises(CorruptArtifactError, match=f"no rows of run {ids[2]}"):
        RunStore(published).run(ids[2]).read()
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(CorruptArtifactError, match=r"verdicts\.parquet cannot be read"):
        RunStore(published).run(ids[1]).read()


def named_by_a_number(data: bytes) -> bytes:
    """Field 4 of the footer's first column, its name, as an integer in place of bytes."""
    (size,) = struct.unpack("<L", data[-8:-4])
    body, footer = data[: -8 - size], data[-8 - size : -8]
    forged = footer.replace(b"\x18\x06run_id", b"\x15\x06", 1)
    assert len(forged) == size - len("run_id")
    return body + forged + struct.pack("<L", len(forged)) + b"PAR1"


def with_an_id_that_is_no_text(data: bytes) -> bytes:
    place = data.index(b"digits-")
    return data[:place] + b"\xff" + data[place + 1 :]


@pytest.mark.parametrize(
    ("forge", "why"), [(named_by_a_number, "a text of its footer is a number"), (with_an_id_that_is_no_text, "utf-8")]
)
def test_forged_verdicts_are_refused_in_one_line(published, cli, forge, why):
    path = published / "published" / "mine" / "verdicts.parquet"
    path.write_bytes(forge(parquet_bytes(pq.read_table(path), compression="none", write_statistics=False)))
    done = cli("results", "show", RunStore(published).ids()[0], "--results", str(published))
    assert done.code == 2
    (line,) = done.err.splitlines()
    assert f"verdict file {path} cannot be read: " in line
    assert why in line


def test_what_is_damaged_is_not_published_and_is_named(folders, cli):
    ids = RunStore(folders).ids()
    (folders / ids[0] / "verdicts.parquet").write_bytes(b"PAR1")
    done = cli("results", "publish", "--as", "mine", "--all", "--results", str(folders), "--json")
    told = json.loads(done.out)
    assert done.code == 1
    assert (told["runs"], told["added"]) == (2, ids[1:])
    assert f"left out: run {ids[0]}" in done.err
    path = folders / "published" / "mine" / "records.jsonl"
    path.write_bytes(path.read_bytes()[:-100])
    before = contents(folders / "published")
    with pytest.raises(CorruptArtifactError, match="SHA-256"):
        publish(RunStore(folders), "mine", ids[1:])
    assert contents(folders / "published") == before


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "", "a..b"])
def test_a_collection_has_a_plain_name(folders, name):
    with pytest.raises(InputError, match="is invalid"):
        publish(RunStore(folders), name, [])
    assert not (folders / "published").exists()


def test_a_run_that_is_not_there_is_answered_with_the_nearest(published):
    store = RunStore(published)
    with pytest.raises(UnknownNameError) as error:
        store.find("zzz")
    assert "which holds 3 runs; the nearest ids are" in str(error.value)
    with pytest.raises(BenchError, match="holds no runs"):
        RunStore(published / "nowhere").find("zzz")
    assert store.find(store.ids()[0][:10]).path.name == store.ids()[0]


def test_a_published_run_is_packed_like_a_folder(folders, published, cli):
    for run_id in RunStore(folders).ids():
        for results in (folders, published):
            done = cli("results", "pack", run_id, "--results", str(results), "--out", f"{results.name}.bench.zip")
            assert done.code == 0, done.err
        assert Path("folders.bench.zip").read_bytes() == Path("results.bench.zip").read_bytes()

"""Real runs packed, checked and judged again; forged archives refused, each with the invalid field."""

import dataclasses
import hashlib
import json
import os
import struct
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from safetensors.numpy import load, save

from bench.cli.leaderboard_check import check
from bench.cli.pack import pack
from bench.core.errors import BenchError
from bench.core.nouns import Outcome
from bench.engine.declared import changed_of
from bench.engine.evaluate import run as evaluate
from bench.engine.means import Means
from bench.engine.request import Request
from bench.engine.resolve import resolve
from bench.engine.summarise import metrics_of
from bench.engine.verify import verify
from bench.store.confirmations import read_confirmation
from bench.store.home import Home
from bench.store.keyring import Keyring
from bench.store.record import Record, write_record
from bench.store.run import Run
from bench.store.runs import RunFolder, RunStore
from bench.store.untrusted import RefusedError
from bench.store.verdicts import images_digest, read_rows, rows_digest, write_rows
from bench.submissions.check import check_archive, confirm
from bench.submissions.intake import read_all
from bench.submissions.pack import pack_run
from tests.submissions import SCRIPT, add_picture, archive_of, members_of, patched, put, unsealed, write_run

SHARD = "adversarial/00000.safetensors"


def made(home: Path, results: Path, **asked) -> Path:
    """The folder of a real run."""
    means = Means(RunStore(results), Home(home))
    request = Request(limit=24, **{"attack": "pgd", **asked})
    return results / evaluate(resolve(request, Keyring(means.home.keys)), means).id


@pytest.fixture(scope="module")
def runs(shared_home, tmp_path_factory):
    """Two runs: an undefended model in white-box, and a keyed one, whose shards are of 10 images."""
    results = tmp_path_factory.mktemp("submitted")
    white = made(shared_home, results, defense="plain", threat="white-box", settings={"attack.steps": 30})
    asked = {"attack": "transfer", "settings": {"attack.steps": 10, "profile.shard_size": 10}}
    keyed = made(shared_home, results, defense="key-lora", threat="non-adaptive", **asked)
    return {"white": white, "keyed": keyed}


@pytest.fixture(scope="module")
def archives(runs, shared_home, tmp_path_factory):
    """Both, packed with their images."""
    folder = tmp_path_factory.mktemp("archives")
    means = Means(RunStore(runs["white"].parent), Home(shared_home))
    return {
        name: pack_run(RunFolder(run), folder / f"{name}.bench.zip", means, with_images=True).path
        for name, run in runs.items()
    }


@pytest.fixture
def means(home, tmp_path, monkeypatch) -> Means:
    """With a temporary folder of our own, which is empty after every check."""
    room = tmp_path / "room"
    room.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(room))
    yield Means(RunStore(tmp_path / "results"), Home(home))
    assert os.listdir(room) == []


def test_real_runs_are_packed_checked_and_confirmed(archives, runs, means, tmp_path):
    into = RunStore(tmp_path / "taken")
    for name, run in runs.items():
        done = check_archive(archives[name], means, into=into)
        assert (done.exit_code, done.refused, done.disagreements, done.confirmed) == (0, None, [], True)
        assert done.written == into.root / run.name
        assert any("outcome, both predictions and distance: 24 compared" in text for text in done.checked)
        assert any(text.startswith("source: digest") for text in done.checked)
        assert any("cannot be checked" in text for text in done.unchecked)
    taken, refused = read_all(into.root)
    assert refused == []
    for evidence in taken:
        source = RunStore(runs["white"].parent).run(evidence.record.run_id)
        assert Run(evidence.record, evidence.rows) == source.read()
        assert evidence.confirmation is not None
        assert evidence.confirmation.images == 24
        assert any("attack: that the adversarial images come from" in text for text in evidence.confirmation.unchecked)
    assert len(taken) == 2
    assert check_archive(archives["white"], means, into=into).exit_code == 0  # the same again changes nothing
    assert sorted(p.name for p in into.root.iterdir()) == sorted(run.name for run in runs.values())


def test_the_same_run_gives_the_same_bytes(archives, runs, means, tmp_path):
    again = pack_run(RunFolder(runs["keyed"]), tmp_path / "b.zip", means, with_images=True)
    assert again.shards == 3
    assert again.path.read_bytes() == archives["keyed"].read_bytes()
    with zipfile.ZipFile(again.path) as file:
        assert file.testzip() is None
        shards = [f"adversarial/0000{i}.safetensors" for i in range(3)]
        assert file.namelist() == ["record.json", "verdicts.parquet", *shards, "manifest.json"]
        assert load(file.read(shards[2]))["images"].shape == (4, 3, 32, 32)


def test_a_picture_comes_along_with_its_pixels_alone(tmp_path, means):
    folder = write_run(tmp_path / "own")
    add_picture(folder, note="hidden")
    packed = pack_run(RunFolder(folder), tmp_path / "a.zip", means)
    done = check_archive(packed.path, means, judge=False, into=RunStore(tmp_path / "taken"))
    assert any(text.startswith("picture: ") for text in done.checked)
    (evidence,) = read_all(tmp_path / "taken")[0]
    assert evidence.gallery.caption == "two digits"
    assert b"hidden" in (folder / "gallery.png").read_bytes()
    assert b"hidden" not in evidence.gallery.picture.read_bytes()
    assert Image.open(evidence.gallery.picture).tobytes() == bytes(8 * 8 * 3)
    other = {**members_of(packed.path), "gallery.json": (folder / "gallery.json").read_bytes().replace(b"two", b"<b>")}
    done = check_archive(archive_of(tmp_path / "b.zip", other), means, judge=False)
    assert done.refused.field == "gallery.caption"


def test_without_images_clean_predictions_alone_are_judged(runs, means, tmp_path):
    packed = pack_run(RunFolder(runs["keyed"]), tmp_path / "a.zip", means)
    done = check_archive(packed.path, means, into=RunStore(tmp_path / "taken"))
    assert (done.exit_code, done.confirmed) == (0, False)
    assert "clean images, labels and clean predictions: 24 compared" in done.checked
    assert any(text.startswith("adversarial verdicts: not checked: the archive holds no") for text in done.unchecked)
    (evidence,) = read_all(tmp_path / "taken")[0]
    assert (evidence.confirmed, evidence.stated, evidence.confirmation.images) == (False, True, 0)
    assert any(text.startswith("adversarial verdicts: not checked") for text in evidence.confirmation.unchecked)


def test_without_judging_again_no_model_is_loaded(archives, tmp_path, monkeypatch):
    means = Means(RunStore(tmp_path), Home(tmp_path / "no-home"))
    done = check_archive(archives["keyed"], means, judge=False)
    assert (done.exit_code, done.confirmed) == (0, False)
    assert any("--no-rejudge" in text for text in done.unchecked)
    assert not (tmp_path / "no-home").exists()


def test_the_commands(archives, runs, means, tmp_path, capsys, home):
    app = typer.Typer()
    app.command("check")(check)
    app.command("pack")(pack)
    bad = tmp_path / "bad.zip"
    bad.write_bytes(b"PK")

    def call(*argv) -> tuple[int, str]:
        capsys.readouterr()
        code = app([str(a) for a in argv], standalone_mode=False)
        return code or 0, capsys.readouterr().out

    code, out = call("check", archives["white"], bad, archives["keyed"], "--into", tmp_path / "taken")
    assert code == 2  # and the others were checked
    assert out.count("accepted, confirmed") == 2
    assert "bad.zip: refused: archive: " in out
    code, out = call("check", archives["white"], "--no-rejudge", "--json")
    assert (code, json.loads(out)[0]["refused"]) == (0, None)
    code, out = call("pack", runs["white"].name[:6], "--results", runs["white"].parent, "--out", tmp_path / "x.zip")
    assert (code, (tmp_path / "x.zip").exists()) == (0, True)


def test_a_run_of_ones_own_is_confirmed_when_it_is_verified(runs, means):
    folder = RunStore(runs["white"].parent).run(runs["white"].name)
    found = verify(folder, None, means)
    assert confirm(folder, found) is not None
    record = folder.read().record
    assert read_confirmation(folder.path, record).images == 24
    assert confirm(folder, dataclasses.replace(found, disagreements=["a: differs"])) is None
    (folder.path / "confirmation.json").unlink()


def test_what_the_intake_refuses_is_not_packed(tmp_path, means):
    folder = write_run(tmp_path / "bad", spec={"budget": "linf:1/0"})
    with pytest.raises(RefusedError, match=r"spec\.budget"):
        pack_run(RunFolder(folder), tmp_path / "a.zip", means)
    assert not (tmp_path / "a.zip").exists()


def forged(archive: Path, path: Path, change, **record_changes) -> Path:
    """A real archive whose rows are changed, with a record and digests that fit."""
    members, room = members_of(archive), path.with_suffix(".d")
    room.mkdir()
    for name in ("record.json", "verdicts.parquet"):
        (room / name).write_bytes(members[name])
    rows = change(read_rows(room / "verdicts.parquet")[0])
    record = Record.model_validate_json(members["record.json"])
    digests = record.digests.model_copy(update={"verdicts": rows_digest(rows), "data": images_digest(rows)})
    record = record.model_copy(update={"metrics": metrics_of(rows), "digests": digests, **record_changes})
    write_rows(room / "verdicts.parquet", rows)
    write_record(room / "record.json", record)
    new = {name: (room / name).read_bytes() for name in ("record.json", "verdicts.parquet")}
    return archive_of(path, {**members, **new})


def test_a_fooled_image_called_robust_is_found_by_judging_again(archives, means, tmp_path):
    def lie(rows):
        return [
            dataclasses.replace(r, outcome=Outcome.ROBUST, adversarial_prediction=r.label)
            if r.outcome is Outcome.FOOLED
            else r
            for r in rows
        ]

    done = check_archive(forged(archives["white"], tmp_path / "a.zip", lie), means, into=RunStore(tmp_path / "taken"))
    assert (done.exit_code, done.refused, done.confirmed, done.written) == (1, None, False, None)
    assert "outcome fooled, the record says robust" in done.disagreements[0]
    assert not (tmp_path / "taken").exists()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda rows: [dataclasses.replace(rows[0], image_sha256="0" * 64), *rows[1:]], "the clean image differs"),
        (lambda rows: [dataclasses.replace(rows[0], image_id="digits-none"), *rows[1:]], "not in the local data"),
        (lambda rows: rows[::-1], "not those selected by the spec"),
        (lambda rows: [dataclasses.replace(r, distance=r.distance * 0.5) for r in rows], "distance"),
        (lambda rows: [dataclasses.replace(r, other_prediction=(r.label + 1) % 10) for r in rows], "other_prediction"),
        (lambda rows: [dataclasses.replace(r, noise_prediction=(r.label + 1) % 10) for r in rows], "noise_prediction"),
    ],
)
def test_other_lies_are_found(archives, means, tmp_path, change, text):
    done = check_archive(forged(archives["white"], tmp_path / "a.zip", change), means)
    assert done.exit_code == 1
    assert text in done.disagreements[0]


def test_images_that_are_clean_give_other_verdicts(archives, means, tmp_path):
    members = members_of(archives["white"])
    images = load(members[SHARD])["images"]
    path = archive_of(tmp_path / "a.zip", {**members, SHARD: save({"images": np.zeros_like(images)})})
    done = check_archive(path, means)
    assert done.exit_code == 1
    images[0, 0, 0, 0] = np.nan
    path = archive_of(tmp_path / "b.zip", {**members, SHARD: save({"images": images})})
    assert "outcome invalid, the record says" in check_archive(path, means).disagreements[0]


def spec_of(path: Path, archive: Path, **values) -> Path:
    """A real archive with another Spec, whose run id fits; the verdicts are the old ones."""
    members = members_of(archive)
    record = unsealed(members["record.json"])
    spec = Record.model_validate(record).spec.model_copy(update=values)
    record["spec"], record["run_id"] = spec.model_dump(mode="json"), spec.run_id
    with suppress(BenchError):  # of a plug-in that is not installed
        record["changed"] = changed_of(spec).model_dump(mode="json")
    return archive_of(path, {**members, "record.json": json.dumps(record).encode()})


def test_what_cannot_be_judged_again_says_why(archives, means, tmp_path):
    members = members_of(archives["keyed"])
    spec = Record.model_validate_json(members["record.json"]).spec
    profile, defense, key = spec.profile, spec.defense, spec.key
    base = profile.base.model_copy(update={"seed": 9})
    lora = profile.recipes["lora"].model_copy(update={"steps": 10**9})
    path, rank = {**defense.options, "transform": "/etc/x"}, {**defense.options, "rank": 10**6}
    cases = {
        "has another base": {"profile": profile.model_copy(update={"base": base})},
        "is not part of this version": {"profile": profile.model_copy(update={"name": "mine"})},
        "by another recipe": {"profile": profile.model_copy(update={"recipes": {**profile.recipes, "lora": lora}})},
        "is not installed": {"defense": defense.model_copy(update={"name": "mine"})},
        "may name a file": {"defense": defense.model_copy(update={"options": path})},
        "the limit for models trained in a check": {"defense": defense.model_copy(update={"options": rank})},
        "not in the keyring": {"key": key.model_copy(update={"fingerprint": "0" * 16, "origin": "keyring"})},
        "says otherwise": {"key": None},
    }
    for text, values in cases.items():
        path = spec_of(tmp_path / "a.zip", archives["keyed"], **values)
        done = check_archive(path, means)
        assert (done.exit_code, done.confirmed) == (0, False), done
        (why,) = [line for line in done.unchecked if line.startswith("verdicts: not judged again")]
        assert text in why
    record = put(unsealed(members["record.json"]), ("digests", "target"), "0" * 64)
    path = archive_of(tmp_path / "b.zip", {**members, "record.json": json.dumps(record).encode()})
    assert any("another machine or version trained it" in line for line in check_archive(path, means).unchecked)


def header(shape, *, dtype="F32", size=None, name="images", length=None) -> bytes:
    """A safetensors header alone."""
    size = int(np.prod(shape, dtype=object)) * 4 if size is None else size
    text = json.dumps({name: {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text


def hostile(members: dict[str, bytes], folder: Path) -> dict[str, tuple[Path, str]]:
    """Archives by what is wrong with them, with the field that must be named."""
    record = unsealed(members["record.json"])
    text = members["record.json"].decode()
    plain = {name: data for name, data in members.items() if not name.startswith("adversarial")}
    run_id, out = record["run_id"], {}

    def add(name, field, data=members, **forgery):
        out[name] = (archive_of(folder / f"{name}.zip", data, **forgery), field)

    def swap(name, field, values):
        add(name, field, {**members, **values})

    strange = ["../evil.txt", "/etc/evil", "adversarial/../../evil", "confirmation.json", "a/record.json", "C:\\evil"]
    for name in [*strange, "RECORD.json", "adversarial/0.safetensors", "shards/00000.parquet", SCRIPT]:
        add(f"member-{len(out)}", "member", extra=[(name, b"x")])
    add("folder", "member", extra=[("adversarial/", b"")])
    add("link", "member 'record.json'", link="record.json")
    add("zip-bomb", "member", {**plain, "gallery.png": b"\0" * 1_900_000}, compression=zipfile.ZIP_DEFLATED)
    add("unlisted", "manifest.members", plain, extra=[("gallery.json", b"{}")])
    about = {n: {"size": len(d), "sha256": hashlib.sha256(d).hexdigest()} for n, d in members.items()}
    wrong = put(about, ("verdicts.parquet", "sha256"), "0" * 64)
    add("manifest-hash", "manifest.members.verdicts.parquet.sha256", manifest={"members": wrong})
    wrong = put(about, (SHARD, "sha256"), "0" * 64)
    add("manifest-shard", f"manifest.members.{SHARD}.sha256", manifest={"members": wrong})
    wrong = put(about, ("record.json", "size"), 1)
    add("manifest-size", "manifest.members.record.json.size", manifest={"members": wrong})
    add("manifest-more", "manifest.members", manifest={"members": {**about, "gallery.png": about["record.json"]}})
    add("manifest-run", "run_id", manifest={"run_id": "0" * 16})
    add("manifest-path", "manifest.run_id", manifest={"run_id": "../../evil"})
    add("manifest-script", "manifest.version", manifest={"version": SCRIPT})
    add("no-record", "record.json", {n: d for n, d in members.items() if n != "record.json"})

    swap("script", "notes.0", {"record.json": json.dumps(put(record, ("notes", 0), SCRIPT)).encode()})
    swap("run-name", "run_id", {"record.json": json.dumps({**record, "run_id": "../../../x"}).encode()})
    for value in ("NaN", "Infinity"):
        said = f'"robust_accuracy": {record["metrics"]["robust_accuracy"]}'
        forged = text.replace(said, f'"robust_accuracy": {value}')
        swap(value, "metrics.robust_accuracy", {"record.json": forged.encode()})
    better = put(record, ("metrics", "clean_accuracy"), 0.123)
    swap("accuracy", "metrics", {"record.json": json.dumps(better).encode()})
    for name in ("data", "verdicts"):
        swap(f"digest-{name}", f"digests.{name}",
             {"record.json": json.dumps(put(record, ("digests", name), "0" * 64)).encode()})  # fmt: skip
    swap("deep", "record.json", {"record.json": b'{"a":' * 100_000})
    twice = text.replace('"eligible": true', '"eligible": true, "eligible": true')
    swap("twice", "record.json", {"record.json": twice.encode()})
    swap("truncated", "verdicts.parquet", {"verdicts.parquet": members["verdicts.parquet"][:-20]})
    other = write_run(folder / "other")
    swap("other", "digests.verdicts", {"verdicts.parquet": (other / "verdicts.parquet").read_bytes()})
    shape = [24, 3, 32, 32]
    pixels = members[SHARD][-24 * 3 * 32 * 32 * 4 :]
    giga = [24, 3, 10_000, 3_500]
    swap("10-gigabytes", f"{SHARD}: shape", {SHARD: header(giga) + pixels})
    swap("negative", f"{SHARD}: shape", {SHARD: header([-24, 3, 32, 32]) + pixels})
    swap("offsets", f"{SHARD}: data_offsets", {SHARD: header(shape, size=10 * 2**30) + pixels})
    swap("doubles", f"{SHARD}: dtype", {SHARD: header(shape, dtype="F64") + pixels})
    swap("tensor", f"{SHARD}: header", {SHARD: header(shape, name="x") + pixels})
    swap("header", f"{SHARD}: header", {SHARD: header(shape, length=2**63) + pixels})
    swap("short", SHARD, {SHARD: header(shape) + pixels[:-4]})
    swap("shards", "adversarial/00001.safetensors", {"adversarial/00001.safetensors": members[SHARD]})
    assert run_id
    return out


def test_hostile_archives_are_refused_each_with_its_field_and_the_honest_one_is_taken(archives, means, tmp_path):
    folder = tmp_path / "hostile"
    folder.mkdir()
    cases = hostile(members_of(archives["white"]), folder)
    before = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*"))
    into = RunStore(tmp_path / "taken")
    for name, (path, field) in cases.items():
        done = check_archive(path, means, into=into)
        assert done.refused is not None, name
        assert done.refused.field.startswith(field), (name, done.refused)
        assert (done.exit_code, done.written) == (2, None)
        assert str(done.refused).isprintable()
    assert sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*")) == before
    assert check_archive(archives["white"], means, into=into).exit_code == 0


def test_archives_that_are_forged_byte_by_byte(archives, means, tmp_path):
    whole = archives["white"].read_bytes()
    name = b"record.json"
    cases = {
        "not-a-zip": (b"hello" * 100, "archive"),
        "empty": (b"", "archive"),
        "after-the-end": (whole + b"x", "archive"),
        "encrypted": (whole.replace(b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01"), "member"),
        "directory": (whole[:-10] + struct.pack("<L", 2**31) + whole[-6:], "archive"),
        "renamed-inside": (patched(whole[:60], name, b"../evil.txt") + whole[60:], "record.json"),
    }
    for title, (data, field) in cases.items():
        path = tmp_path / f"{title}.zip"
        path.write_bytes(data)
        done = check_archive(path, means)
        assert done.refused is not None, title
        assert done.refused.field.startswith(field), (title, done.refused)
    (tmp_path / "dir.zip").mkdir()
    os.mkfifo(tmp_path / "pipe.zip")
    for name in ("dir.zip", "pipe.zip", "nowhere.zip"):
        assert check_archive(tmp_path / name, means).refused.field == "archive"


def test_members_that_overlap_are_refused(archives, means, tmp_path):
    """Twenty members that share the bytes of one, as the densest zip bombs do: sizes add up to more than the file."""
    members = members_of(archives["white"])
    path = archive_of(
        tmp_path / "a.zip", {**members, **{f"adversarial/{i:05d}.safetensors": b"" for i in range(1, 20)}}
    )
    with zipfile.ZipFile(path) as file:
        entries, start, shard = file.infolist(), file.start_dir, file.getinfo(SHARD)
    data = bytearray(path.read_bytes())
    at = start
    for entry in entries:  # the list of members: sizes at 20 and 24, where the member begins at 42
        if entry.filename.startswith("adversarial"):
            struct.pack_into("<LL", data, at + 20, shard.file_size, shard.file_size)
            struct.pack_into("<L", data, at + 42, shard.header_offset)
        at += 46 + len(entry.filename)
    path.write_bytes(data)
    done = check_archive(path, means)
    assert done.refused is not None
    assert "overlaps another" in done.refused.text


def test_a_run_that_is_there_with_another_record_is_never_overwritten(archives, means, tmp_path):
    into = RunStore(tmp_path / "taken")
    assert check_archive(archives["white"], means, into=into).exit_code == 0
    members = members_of(archives["white"])
    record = put(unsealed(members["record.json"]), ("provenance", "device"), "another")
    path = archive_of(tmp_path / "a.zip", {**members, "record.json": json.dumps(record).encode()})
    before = {p: p.read_bytes() for p in into.root.rglob("*") if p.is_file()}
    done = check_archive(path, means, into=into)
    assert (done.exit_code, done.refused.field) == (2, "run_id")
    assert {p: p.read_bytes() for p in into.root.rglob("*") if p.is_file()} == before


def test_a_results_folder_that_cannot_be_written_is_this_sides_error(archives, means, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match="cannot write"):
        check_archive(archives["white"], means, judge=False, into=RunStore(tmp_path / "file"))

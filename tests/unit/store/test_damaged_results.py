"""Every byte of a run's files changed: show, the board and a resumed run name it, and never take it for whole."""

import random
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from bench.core.budget import Budget
from bench.core.cost import Meter
from bench.core.errors import CorruptArtifactError
from bench.store.audits import AuditRecord, AuditSpec, read_audit, write_audit
from bench.store.candidates import CandidateStore, Made
from bench.store.confirmations import write_confirmation
from bench.store.documents import document_line, document_text, read_document, write_document
from bench.store.galleries import read_gallery
from bench.store.keystudies import KeyStudyRecord, KeyStudySpec, SiblingPair, read_keystudy, write_keystudy
from bench.store.ladders import LadderRecord, Tier, read_ladders, write_ladder
from bench.store.published import Contents
from bench.store.record import read_record
from bench.store.runs import RunStore
from bench.store.seals import seal_table
from bench.store.several import KeyRun, KeysRecord, write_keys
from bench.submissions.intake import read_all
from tests.submissions import add_picture, honest_rows, write_run

SOME = 150
LARGE = pytest.param(3000, marks=pytest.mark.slow)


def flips(data: bytes, most: int):
    """Copies of ``data`` with one bit turned, at places drawn from all of them."""
    draw = random.Random(most)
    for place in draw.sample(range(len(data)), min(most, len(data))):
        yield data[:place] + bytes([data[place] ^ 1 << draw.randrange(8)]) + data[place + 1 :]


def silent(path: Path, most: int, read) -> list[bytes]:
    """The changed files that ``read`` takes; the file is put back afterwards, and must be taken then."""
    whole, taken = path.read_bytes(), []
    for data in flips(whole, most):
        path.write_bytes(data)
        with suppress(CorruptArtifactError):
            read()
            taken.append(data)
    path.write_bytes(whole)
    read()
    return taken


@pytest.fixture
def run(tmp_path) -> Path:
    """The folder of a run with a picture and a confirmation."""
    folder = write_run(tmp_path / "results")
    add_picture(folder)
    write_confirmation(folder, read_record(folder / "record.json"), ["attack: cannot be checked"])
    return folder


@pytest.mark.parametrize("most", [SOME, LARGE])
@pytest.mark.parametrize("name", ["record.json", "verdicts.parquet"])
def test_a_run_with_a_changed_bit_is_not_shown(run, name, most):
    folder = RunStore(run.parent).run(run.name)
    assert silent(run / name, most, folder.read) == []


@pytest.mark.parametrize("most", [SOME, LARGE])
@pytest.mark.parametrize(
    "name", ["record.json", "verdicts.parquet", "gallery.json", "gallery.png", "confirmation.json"]
)
def test_a_run_with_a_changed_bit_is_not_on_the_board(run, name, most):
    def read():
        taken, refused = read_all(run.parent)
        if not taken:
            raise CorruptArtifactError(str(refused[0]))
        assert refused == []

    assert silent(run / name, most, read) == []


def ladder(folder: Path) -> Path:
    record = read_record(folder / "record.json")
    tier = Tier(tier="T0", robust_accuracy=None, up_to=0.5, interval=(0.25, 0.75))
    return write_ladder(folder.parent, LadderRecord.model_construct(
        ladder_id="0" * 16, ladder="standard", profile="digits", defense=record.spec.defense, budget=record.spec.budget,
        seed=0, images=24, clean_accuracy=0.9, clean_interval=(0.8, 1.0), rungs=[], paper=[], skipped=[], tiers=[],
        broken_below=0.2, first_break=tier.tier, eligible=True, seconds=1.0))  # fmt: skip


def keys(folder: Path) -> Path:
    spec = read_record(folder / "record.json").spec
    runs = [KeyRun(run_id=folder.name, seed=i, clean_accuracy=1, robust_accuracy=0.5, interval=(0, 1)) for i in (0, 1)]
    return write_keys(folder.parent, KeysRecord(
        keys_id="0" * 16, defense=spec.defense, threat=spec.threat, attack=spec.attack, budget=spec.budget, images=24,
        runs=runs, mean=0.5, interval=(0, 1), bootstrap=(0, 1), minimum=0.5, minimum_interval=(0, 1), eligible=False,
    ))  # fmt: skip


def audit(folder: Path) -> Path:
    record = read_record(folder / "record.json")
    spec = AuditSpec(profile=record.spec.profile, defense=record.spec.defense, budget=record.spec.budget, seed=0,
                     images=8, key=None, version=1)  # fmt: skip
    return write_audit(folder.parent, AuditRecord(
        audit_id=spec.audit_id, spec=spec, reliable=True, findings=[], answers=[], notes=["careful"], target="a" * 64,
        sources={"adaptive": "b" * 64}, image_ids=["digits-1"], seconds=1, provenance=record.provenance))  # fmt: skip


def key_study(folder: Path) -> Path:
    record = read_record(folder / "record.json")
    spec = KeyStudySpec(run=record.spec, devices=2, wrong_keys=1, draws=1, guesses=1, substitute_attacks=[], version=1)
    pairs = [SiblingPair(compromised=i, judged=j, run_id=folder.name, robust_accuracy=0.5, interval=(0, 1),
                         clean_accuracy=1) for i in (0, 1) for j in (0, 1)]  # fmt: skip
    return write_keystudy(folder.parent, KeyStudyRecord(
        study_id=spec.study_id, spec=spec, images=24, models=[], cosines=[], first_layers=[], matrix=pairs,
        substitutes=[], distance=[], keys=None, estimation=[], notes=[], seconds=1, provenance=record.provenance,
    ))  # fmt: skip


def contents(folder: Path) -> Path:
    about = Contents(name="mine", runs=1, images=24, files={"records.jsonl": "0" * 64})
    return write_document(folder.parent / "published" / "mine" / "manifest.json", about)


@pytest.mark.parametrize("most", [SOME, LARGE])
@pytest.mark.parametrize(
    ("make", "read"),
    [
        (ladder, lambda path: read_ladders(path.parents[1])),
        (audit, read_audit),
        (key_study, read_keystudy),
        (keys, lambda path: read_document(path, KeysRecord, "keys")),
        (contents, lambda path: read_document(path, Contents, "manifest")),
    ],
)
def test_a_document_with_a_changed_bit_is_not_read(run, make, read, most):
    path = make(run)
    assert silent(path, most, lambda: read(path)) == []


@pytest.mark.parametrize("name", ["record.json", "gallery.json"])
def test_a_document_of_another_folder_is_named(run, name):
    other = run.with_name("0" * 16)
    shutil.copytree(run, other)
    with pytest.raises(CorruptArtifactError, match=rf"is that of {run.name}; expected 0000000000000000"):
        {"record.json": read_record, "gallery.json": lambda path: read_gallery(path.parent)}[name](other / name)


def test_a_published_document_is_the_file_with_its_digest(run):
    record = read_record(run / "record.json")
    assert document_text(document_line(record)) == (run / "record.json").read_bytes()
    (run / "record.json").write_bytes(document_text(document_line(record)).replace(b'  "sha256"', b' "sha256"'))
    with pytest.raises(CorruptArtifactError, match="is damaged: its bytes do not have the digest in it"):
        read_record(run / "record.json")


IMAGES = [(row.image_id, row.label) for row in honest_rows()]


@pytest.mark.parametrize("most", [SOME, LARGE])
def test_a_shard_with_a_changed_bit_is_not_taken(tmp_path, most):
    run = RunStore(tmp_path).run("0" * 16)
    run.write_shard(3, honest_rows(), {"meters": [], "seconds": 0.5, "reused": False, "warnings": ["careful"]})
    (path,) = tmp_path.rglob("*.parquet")
    assert silent(path, most, lambda: run.shard(3, IMAGES)) == []


def test_a_shard_of_another_place_or_other_images_is_not_taken(tmp_path):
    one, two = (RunStore(tmp_path).run(name * 16) for name in "01")
    one.write_shard(0, honest_rows(), {})
    shards = one.path / "shards"
    shutil.copy(shards / "00000.parquet", shards / "00001.parquet")
    shutil.copytree(shards, two.path / "shards")
    for run, index in ((one, 1), (two, 0)):
        with pytest.raises(CorruptArtifactError, match="its bytes do not have the digest in it"):
            run.shard(index, IMAGES)
    for images in (IMAGES[:-1], IMAGES[::-1], [*IMAGES[:-1], (IMAGES[-1][0], 5)]):
        with pytest.raises(CorruptArtifactError, match="holds 24 verdicts on other images"):
            one.shard(0, images)
    assert one.shard(0, IMAGES) is not None


def test_parts_of_the_cost_keep_their_order(tmp_path):
    """A resumed run names its attacks in the order in which they ran."""
    run = RunStore(tmp_path).run("0" * 16)
    meters = {"square": {"forwards": 1}, "apgd-t": {"forwards": 2}, "fab-t": {"forwards": 3}}
    run.write_shard(0, honest_rows(), {"meters": [meters], "seconds": 0.0, "reused": False, "warnings": []})
    _, about = run.shard(0, IMAGES)
    assert list(about["meters"][0]) == ["square", "apgd-t", "fab-t"]
    made = Made(torch.rand(1, 1, 2, 2), torch.zeros(1, dtype=torch.bool), (), {n: Meter(1) for n in meters})
    budget = Budget.parse("linf:4/255")
    CandidateStore(tmp_path).write("ab" * 32, made, made.images, budget)
    assert list(CandidateStore(tmp_path).read("ab" * 32, made.images, budget).meters) == ["square", "apgd-t", "fab-t"]


@pytest.mark.parametrize("most", [400, LARGE])
def test_a_changed_bit_with_a_digest_that_fits_is_read_or_refused(run, most):
    """As a forger would do it; a reader of Parquet must not end the process over it."""
    path = run / "verdicts.parquet"
    whole = path.read_bytes()
    for data in flips(whole, most):
        place = data.rfind(b"sha256=") + 7
        path.write_bytes(seal_table(data[:place] + b"0" * 64 + data[place + 64 :]))
        taken, refused = read_all(run.parent)
        assert len(taken) + len(refused) == 1

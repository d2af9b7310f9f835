"""Forged archives by kind: none is confirmed, whatever the archive says of itself, and no honest one is lost."""

import dataclasses
from pathlib import Path

import pytest

from bench.engine.evaluate import run as evaluate
from bench.engine.means import Means
from bench.engine.request import Request
from bench.engine.resolve import resolve
from bench.store.home import Home
from bench.store.keyring import Keyring
from bench.store.runs import RunFolder, RunStore
from bench.submissions.check import check_archive
from bench.submissions.intake import read_all
from bench.submissions.limited import Allowance
from bench.submissions.pack import pack_run
from tests.forged import KINDS, SHARD, Forger, other_audit
from tests.submissions import archive_of, members_of


def made(home: Path, folder: Path, name: str, **asked) -> Path:
    """A real run, packed with its images."""
    means = Means(RunStore(folder / "results"), Home(home))
    job = resolve(Request(limit=24, **asked), Keyring(means.home.keys))
    run = means.results.run(evaluate(job, means).id)
    return pack_run(RunFolder(run.path), folder / f"{name}.zip", means, with_images=True).path


@pytest.fixture(scope="module")
def honest(shared_home, tmp_path_factory):
    """An undefended model in white-box, and a keyed one under transfer."""
    folder = tmp_path_factory.mktemp("honest")
    white = {"defense": "plain", "threat": "white-box", "attack": "pgd", "settings": {"attack.steps": 30}}
    keyed = {"defense": "key-lora", "threat": "non-adaptive", "attack": "transfer", "settings": {"attack.steps": 10}}
    return {
        "white": made(shared_home, folder, "white", **white),
        "keyed": made(shared_home, folder, "keyed", **keyed),
    }


@pytest.fixture
def means(home, tmp_path):
    return Means(RunStore(tmp_path / "results"), Home(home))


def test_forged_archives_are_never_confirmed(honest, means, tmp_path):
    """Tried, held, failed."""
    failed, into = {}, RunStore(tmp_path / "taken")
    for number, (kind, forge) in enumerate(KINDS.items()):
        path = forge(Forger(honest["white"], tmp_path / f"{number}.zip"))
        done = check_archive(path, means, into=into)
        if done.confirmed or not (done.refused or done.disagreements or done.doubts or done.unchecked):
            failed[kind] = done
    assert len(KINDS) >= 40
    assert failed == {}
    taken, refused = read_all(into.root)
    assert refused == []
    assert not any(evidence.confirmed for evidence in taken)
    assert all(evidence.stated for evidence in taken)


def test_members_of_two_honest_archives_do_not_mix(honest, means, tmp_path):
    white, keyed = members_of(honest["white"]), members_of(honest["keyed"])
    for name in ("verdicts.parquet", SHARD, "record.json"):
        for own, other in ((white, keyed), (keyed, white)):
            done = check_archive(archive_of(tmp_path / "a.zip", {**own, name: other[name]}), means)
            assert not done.confirmed
            assert done.refused or done.disagreements, name


def test_honest_archives_are_confirmed(honest, means):
    for path in honest.values():
        done = check_archive(path, means)
        assert (done.exit_code, done.disagreements, done.doubts, done.confirmed) == (0, [], [], True)
        assert "audit: the cheap checks, run again here, have the same results" in done.checked
        assert any(text.startswith("attack: an attack of this side") for text in done.checked)


def test_an_audit_that_says_something_else_is_a_disagreement(honest, means, tmp_path):
    done = check_archive(other_audit(Forger(honest["keyed"], tmp_path / "a.zip")), means)
    assert (done.exit_code, done.confirmed) == (1, False)
    assert done.disagreements[0].startswith("audit: ")


def test_an_attack_that_does_nothing_is_in_doubt(shared_home, means, tmp_path):
    """On the undefended model, 98% is a true figure of an attack of one tiny step, and says nothing."""
    tiny = {"attack.steps": 1, "attack.relative_step": 1e-6}
    path = made(shared_home, tmp_path, "tiny", defense="plain", threat="white-box", attack="pgd", settings=tiny)
    done = check_archive(path, means, into=RunStore(tmp_path / "taken"))
    assert (done.exit_code, done.disagreements, done.confirmed) == (0, [], False)
    assert any("an attack of this side (autoattack" in text and "where the run states" in text for text in done.doubts)
    (evidence,) = read_all(tmp_path / "taken")[0]
    assert (evidence.confirmed, evidence.stated) == (False, True)


def test_nothing_is_trained_unless_it_is_told(honest, means, tmp_path):
    """A home without models: one line says which is missing; within a limit it is trained, and kept if confirmed."""
    empty = dataclasses.replace(means, home=Home(tmp_path / "home"))
    done = check_archive(honest["white"], empty)
    assert (done.exit_code, done.confirmed) == (0, False)
    assert any("is not stored here; give --train" in text for text in done.unchecked)
    done = check_archive(honest["white"], empty, allowance=Allowance(train=True, seconds=0.001))
    assert any("not finished within 0.001 seconds" in text for text in done.unchecked)
    assert not list(empty.home.models.glob("*/manifest.json"))

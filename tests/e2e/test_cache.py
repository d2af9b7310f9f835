"""`bench cache`: what it counts, what it removes, and that a run afterwards has the same verdicts."""

import json
import os
import shutil

import pytest

from bench.store.files import hold

RUN = ("run", "--defense", "plain", "--threat", "white-box", "--attack", "pgd", "--limit", "8", "--set",
       "attack.steps=1", "--json")  # fmt: skip


@pytest.fixture
def filled(own_home):
    """A home with two sets of images, a model, a key and an unknown file."""
    images, model = own_home / "cache/adversarial/aa", own_home / "cache/models" / ("b" * 32)
    for folder in (images, model, own_home / "keys"):
        folder.mkdir(parents=True)
    for letter in "ac":
        (images / f"{letter * 64}.images").write_bytes(bytes(100))
    (model / "manifest.json").write_bytes(bytes(50))
    (own_home / "keys" / "k").write_text("secret")
    (own_home / "note.txt").write_text("mine")
    return own_home


def files(home):
    return sorted(p.relative_to(home).as_posix() for p in home.rglob("*") if p.is_file())


def test_list_counts_and_names_no_key(cli, filled):
    done = cli("cache", "list", "--json")
    kinds = json.loads(done.out)["kinds"]
    assert {kind: (row["number"], row["bytes"]) for kind, row in kinds.items()} == {
        "adversarial": (2, 200), "models": (1, 50), "unknown": (1, 4)}  # fmt: skip
    assert "keys" not in done.out
    assert "note.txt" in cli("cache", "list").out


def test_a_dry_run_removes_nothing_and_yes_all_but_keys_and_unknown_files(cli, filled):
    before = files(filled)
    assert "3 entries" in cli("cache", "gc", "--most", "0B").out
    assert files(filled) == before
    assert cli("cache", "gc", "--most", "0B", "--yes").code == 0
    assert files(filled) == ["keys/k", "note.txt"]


def test_a_held_model_stays_and_the_bound_is_kept_by_others(cli, filled):
    model = filled / "cache/models" / ("b" * 32) / "manifest.json"
    os.utime(model, (1, 1))
    os.utime(filled / "cache/adversarial/aa" / f"{'c' * 64}.images", (2, 2))
    hold(model)
    found = json.loads(cli("cache", "gc", "--most", "150B", "--yes", "--json").out)
    assert [e["kind"] for e in found["held"]] == ["models"]
    assert [e["path"][-9:] for e in found["entries"]] == ["cc.images"]
    assert model.exists()
    assert (filled / "cache/adversarial/aa" / f"{'a' * 64}.images").exists()


def test_the_same_run_after_it_has_the_same_verdicts(cli, home):
    first = json.loads(cli(*RUN).out)
    assert cli("cache", "gc", "--most", "0B", "--kind", "adversarial", "--yes").code == 0
    assert "adversarial" not in json.loads(cli("cache", "list", "--json").out)["kinds"]
    shutil.rmtree("results")
    again = json.loads(cli(*RUN).out)
    assert again["cost"]["shards_reused"] == 0
    assert again["digests"]["verdicts"] == first["digests"]["verdicts"]
    assert "adversarial" in json.loads(cli("cache", "list", "--json").out)["kinds"]


@pytest.mark.parametrize(
    "flags", [(), ("--most", "lots"), ("--older", "-3d"), ("--older", "5GB"), ("--most", "1GB", "--kind", "keys")]
)
def test_bad_values_are_one_line(cli, filled, flags):
    before = files(filled)
    done = cli("cache", "gc", *flags, "--yes")
    assert done.code == 2
    assert len(done.err.strip().splitlines()) == 1
    assert "expected" in done.err
    assert files(filled) == before

"""`bench key-study` on quickly made models: what its figures must agree with, and what it must not write down."""

import base64
import json
import shutil
from pathlib import Path

import pytest

from bench.core.key import Key
from bench.store.runs import RunStore

QUICK = ("--set", "profile.base.recipe.steps=25", "--set", "profile.recipes.full.steps=3")
RUN = ("--attack", "pgd", "--set", "attack.steps=5", "--limit", "12", *QUICK)
STUDY = ("key-study", "--devices", "2", "--wrong-keys", "5", "--guesses", "24", "--draws", "2", *RUN)


@pytest.fixture
def study(cli):
    """Run a study; its record."""

    def call(*argv: str) -> dict:
        done = cli(*STUDY, *argv, "--json")
        assert done.code == 0, done.err
        return json.loads(done.out)

    return call


def rows_of(run_id: str, results: str = "results") -> list:
    return RunStore(Path(results)).run(run_id).read().rows


def judged(rows: list) -> list:
    return [(r.image_id, r.outcome, r.clean_prediction, r.adversarial_prediction, r.distance) for r in rows]


def test_a_study(cli, home, study):
    cli("key", "new", "gil")
    path = home / "keys" / "gil.key"
    secret = path.read_text().split()[0]
    named = ("--defense", "key-full", "--key", "gil")
    found = study(*named)
    cells = {(c["compromised"], c["judged"]): c for c in found["matrix"]}
    assert list(cells) == [(0, 0), (0, 1), (1, 0), (1, 1)]

    # The diagonal is white-box: a sibling that is the judged device itself gives the same verdicts.
    argv = ("run", *named, *RUN, "--judge-device", "1", "--results", "other", "--json")
    own = json.loads(cli(*argv, "--threat", "cross-key").out)
    assert own["run_id"] != cells[1, 1]["run_id"]
    assert judged(rows_of(cells[1, 1]["run_id"])) == judged(rows_of(own["run_id"], "other"))
    white = json.loads(cli("run", *named, *RUN, "--threat", "white-box", "--json").out)
    assert white["run_id"] == cells[0, 0]["run_id"]
    for cell in cells.values():
        rows = rows_of(cell["run_id"])
        assert cell["robust_accuracy"] == sum(r.outcome == "robust" for r in rows) / 12
        assert cell["interval"][0] <= cell["robust_accuracy"] <= cell["interval"][1]
    assert cells[0, 1]["run_id"] != cells[1, 0]["run_id"]
    assert cli("results", "verify", cells[0, 1]["run_id"]).code == 0

    # No exchange, the right key, the model alone and the runs: one and the same model.
    clean = cells[0, 0]["clean_accuracy"]
    assert found["distance"][0]["exchanges"] == 0
    assert found["distance"][0]["mean"] == found["keys"]["right"] == found["models"][0]["clean_accuracy"] == clean
    assert [d["exchanges"] for d in found["distance"]] == [0, 1, 2, 4, 8, 16, 32, None]
    assert found["distance"][1]["moved"] == pytest.approx(2 / 48)
    assert found["keys"]["wrong_keys"] == 5

    kinds = {c["kind"] for c in found["cosines"]}
    assert {"two devices", "device and base", "device and key-free substitute", "two keyed substitutes"} <= kinds
    by_kind = {c["kind"]: c["mean"] for c in found["cosines"] if c["loss"] == "margin"}
    assert by_kind["itself nearby"] > by_kind["two devices"] > by_kind["random direction"] + 0.02
    assert abs(by_kind["random direction"]) < 0.05
    assert [s["attack"] for s in found["substitutes"]] == ["autoattack", "transfer"]
    for pair in found["substitutes"]:
        keyed, free = ([r.outcome == "robust" for r in rows_of(pair[n])] for n in ("keyed_run", "key_free_run"))
        assert (pair["keyed"], pair["key_free"]) == (sum(keyed) / 12, sum(free) / 12)
    hows = [g["how"] for g in found["estimation"]]
    assert hows[0] == "assignment"
    assert {"climb in accuracy", "climb in cross-entropy"} <= set(hows)
    assert all(g["guesses"] <= 24 and g["forwards"] == 128 * g["guesses"] for g in found["estimation"])

    # Nothing of the key, and no order that it draws.
    key = Key(bytes.fromhex(secret))
    order = key.permutation("pixel-shuffle/P=4", 48)
    listed = [sep.join(map(str, order)).encode() for sep in (",", ", ", " ", ",\n")]
    squeezed = "".join(json.dumps(found).split()).encode()
    needles = [secret.encode(), bytes.fromhex(secret), base64.b64encode(bytes.fromhex(secret))[:-2], *listed]
    files = [p for p in Path("results").rglob("*") if p.is_file()]
    assert any(p.name == "key-study.json" for p in files)
    for content in [squeezed, *(p.read_bytes() for p in files)]:
        assert not any(needle in content for needle in needles)

    # Once more: read back; and where the record is gone, made anew on the runs that are there.
    assert study(*named) == found
    written = {p: p.stat().st_mtime_ns for p in Path("results").rglob("record.json")}
    shutil.rmtree(Path("results") / found["study_id"])
    again = study(*named)
    assert {p: p.stat().st_mtime_ns for p in Path("results").rglob("record.json")} == written
    own = ("seconds", "provenance")
    assert {k: v for k, v in again.items() if k not in own} == {k: v for k, v in found.items() if k not in own}
    shown = cli(*STUDY, *named)
    for text in ("1. gradients", "2. transfer", "3. substitutes", "4. clean", "5. the key", found["study_id"]):
        assert text in shown.out
    path.unlink()


def test_a_transform_without_an_order(study):
    found = study("--defense", "key-full", "--set", "defense.transform=ffx", "--limit", "4")
    assert found["distance"] == found["estimation"] == []
    assert found["keys"]["right"] == found["matrix"][0]["clean_accuracy"]
    assert any("no order" in text for text in found["notes"])
    assert any("is not a pixel shuffle" in text for text in found["notes"])
    assert any("first layer of device 0: the transform is not affine" in text for text in found["notes"])
    assert {layer["kind"] for layer in found["first_layers"]} == {"other models"}  # the base and the key-free one fold


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--defense", "plain"), "defense plain has no key; expected one with a key: key-"),
        (("--defense", "key-full", "--devices", "1"), "--devices is 1; expected 2 or more"),
        (("--defense", "key-full", "--wrong-keys", "0"), "--wrong-keys is 0; expected 1 or more"),
        (("--defense", "key-full", "--guesses", "0"), "--guesses is 0; expected 1 or more"),
        (("--defense", "key-fool"), "unknown"),
        (("--defense", "key-full", "--attack", "nope"), "unknown"),
        (("--defense", "key-full", "--attack", "square", "--norm", "l1"), "does not support norm l1"),
        (("--defense", "key-full", "--set", "threat.compromised=1"), "belongs to one threat"),
        (("--defense", "key-full", "--limit", "0"), "--limit is 0"),
    ],
)
def test_bad_input_is_one_line(cli, argv, message):
    done = cli("key-study", *argv)
    assert done.code == 2
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not done.out
    assert not Path("results").exists()

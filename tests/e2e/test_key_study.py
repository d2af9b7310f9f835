"""`bench key-study` on quickly made models: what its figures must agree with, and what it must not write down."""

import base64
import json
import shutil
from pathlib import Path

import pytest
import torch

from bench.core.blocks import Shuffle, to_blocks, to_images
from bench.core.budget import Budget
from bench.core.key import Key
from bench.core.nouns import Batch
from bench.core.plugins import Storage
from bench.core.profile import load_profile
from bench.core.progress import Silent
from bench.core.registry import registry
from bench.models.classifier import Classifier, backbone, freeze
from bench.store.runs import RunStore
from bench.studies.keystudy.distance import by_distance, exchanged
from bench.studies.keystudy.gradients import ComparedModel, averaged, cosines, first_layers
from bench.studies.keystudy.pictures import Pictures, channels_alike
from bench.studies.keystudy.search import Case, climb

PROFILE = load_profile("digits")
HALF = (0.5, 0.5, 0.5)
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
    assert any("no pixel shuffle" in text for text in found["notes"])
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
        (("--defense", "key-full", "--attack", "square", "--norm", "l1"), "does not know the norm l1"),
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


@pytest.mark.parametrize("exchanges", [0, 1, 2, 7, 16, 31])
def test_so_many_exchanges_and_no_fewer(exchanges):
    """A permutation is n less its cycles exchanges away from the identity."""
    order = exchanged(32, exchanges, torch.Generator().manual_seed(exchanges)).tolist()
    assert sorted(order) == list(range(32))
    left, cycles = set(range(32)), 0
    while left:
        cycles, at = cycles + 1, left.pop()
        while order[at] in left:
            at = order[at]
            left.discard(at)
    assert 32 - cycles == exchanges


def twin(order: list[int], seed: int = 0) -> tuple[Classifier, Classifier]:
    """A model, and the same function of plain pixels made of a shuffle and a first layer that expects it."""
    plain, keyed = (freeze(Classifier(backbone(PROFILE.base, 10, seed), HALF, HALF)) for _ in range(2))
    weight = keyed.network.patch_embed.proj.weight
    with torch.no_grad():
        weight.copy_(to_images(to_blocks(weight, 4)[..., order], 4))
    keyed.transform = Shuffle(4, order)
    return plain, keyed


@pytest.fixture
def pictures(home):
    storage = Storage(None, PROFILE.image_shape, PROFILE.preprocessing, 1, home / "indexes")
    split = registry("datasets").make("digits").split("test", storage)
    return Pictures(split, range(30), 16, "cpu")


def test_gradients_are_compared_behind_the_transform(pictures):
    """A key that the first layer undoes changes nothing in pixel space."""
    plain, keyed = twin(Key.from_seed(0, "test").permutation("twin", 48))
    other = freeze(Classifier(backbone(PROFILE.base, 10, 1), HALF, HALF))
    subjects = {
        "device 0": ComparedModel(keyed, "device"),
        "base": ComparedModel(plain, "base"),
        "free": ComparedModel(other, "key-free"),
    }
    found = cosines(subjects, pictures, Budget.parse("linf:0.1"), 0, Silent())
    mean = {(c.kind, c.loss): c.mean for c in found}
    for loss in ("margin", "cross-entropy"):
        assert mean["device and base", loss] == pytest.approx(1, abs=1e-5)
        assert abs(mean["device and key-free substitute", loss]) < 0.3
        assert abs(mean["random direction", loss]) < 0.05
    assert {c.images for c in found if c.kind != "itself, another image"} == {30}
    assert {c.images for c in found if c.kind == "itself, another image"} == {8 + 7}  # halves of 16 and of 14
    layers = {layer.kind: layer for layer in first_layers(subjects, pictures.alike, [])}
    assert layers["device and base"].whole == pytest.approx(1)
    assert abs(layers["device and key-free substitute"].whole) < 0.1


def test_channels_that_are_equal_in_the_data_are_averaged(pictures):
    assert pictures.alike == [0, 0, 0]  # grey digits
    images = torch.rand(2, 3, 4, 4)
    assert channels_alike(images) == [0, 1, 2]
    images[:, 2] = images[:, 0]
    assert channels_alike(images) == [0, 1, 0]
    mixed = averaged(images, [0, 1, 1])
    torch.testing.assert_close(mixed[:, 0], images[:, 0])
    torch.testing.assert_close(mixed[:, 1], (images[:, 1] + images[:, 2]) / 2)
    torch.testing.assert_close(mixed[:, 2], mixed[:, 1])


def test_the_models_own_order_is_left_alone(pictures):
    _, keyed = twin(list(range(47, -1, -1)))
    before = keyed.transform.order.clone()
    by_distance(keyed, pictures, 1, 0, Silent())
    assert torch.equal(keyed.transform.order, before)


def test_estimation_is_measured_against_the_truth(pictures):
    order = Key.from_seed(7, "test").permutation("twin", 48)
    plain, keyed = twin(order)
    leaked = freeze(Classifier(keyed.network, HALF, HALF))
    batch = next(iter(pictures))
    with torch.no_grad():
        batch = Batch(batch.ids, batch.images, (plain(batch.images).argmax(1) + 1) % 10)  # never all right
    case = Case(leaked, plain, keyed.transform, batch, pictures)
    right = case.guess("assignment", 0, torch.tensor(order))
    assert (right.entries, right.positions) == (1.0, 1.0)
    assert right.accuracy == pictures.accuracy(plain)
    colours = torch.tensor(order).view(16, 3).flip(1).flatten()  # right but for the order of equal channels
    place = torch.tensor(order) // 3 == colours // 3
    other = case.guess("assignment", 0, colours)
    assert other.entries < 0.5
    assert other.positions == pytest.approx(float(place.double().mean()))

    start = torch.arange(48)
    spent = []
    for aim in ("cross-entropy", "accuracy"):
        walk = list(climb(case, start, aim, 32, 0, lambda n=1: spent.append(n)))
        assert [guesses for guesses, _ in walk] == [2, 8, 32]
        assert all(sorted(found.tolist()) == list(range(48)) for _, found in walk)
    assert sum(spent) == 64

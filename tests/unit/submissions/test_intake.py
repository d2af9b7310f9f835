"""Records from strangers: the honest ones are taken, every forged one is refused with its field, and hides no other."""

import dataclasses
import json
import os
from fractions import Fraction

import pytest

from bench.core.frozen import Frozen
from bench.core.nouns import Outcome, Protocol
from bench.store.confirmations import read_confirmation, write_confirmation
from bench.store.untrusted import RefusedError, parse_json, tame
from bench.store.verdicts import read_rows
from bench.submissions.intake import read_all, read_run
from tests.submissions import SCRIPT, changed, honest_record, honest_rows, leaves, put, refused, unsealed, write_run


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "results")


def rewrite(folder, data) -> None:
    (folder / "record.json").write_text(data if isinstance(data, str) else json.dumps(data))


def record(folder) -> dict:
    return unsealed(folder / "record.json")


def test_an_honest_run_is_taken_whole(run):
    evidence = read_run(run)
    assert list(evidence.rows) == read_rows(run / "verdicts.parquet")[0]
    assert evidence.record.metrics.robust_accuracy == 0.5
    assert (evidence.confirmation, evidence.gallery) == (None, None)


def test_script_in_every_text_of_the_record_is_refused_with_its_field(run):
    data = record(run)
    paths = leaves(data)
    assert len(paths) > 50
    for path in paths:
        rewrite(run, put(data, path, SCRIPT))
        assert refused(run) == ".".join(map(str, path))


@pytest.mark.parametrize(
    "text",
    [
        "a\x00b", "a\nb", "\x1b[31m", "\u202egnp.exe", "\ud800", "</td>", "<!--", "<img src=x>", "&#60;b", "&lt;b",
        "javascript:alert(1)", "JavaScript :alert(1)", "data:text/html,x", "data:,x", "x" * 10_001,
    ],
)  # fmt: skip
def test_texts_that_could_do_harm(run, text):
    rewrite(run, put(record(run), ("notes", 0), text))
    assert refused(run) == "notes.0"


@pytest.mark.parametrize(
    "text", ["a < b, 1 <= 2 & c > d", "the data: 3 images are missing", "naïve λ → 0.5", "x" * 10_000]
)
def test_texts_that_do_none(run, text):
    rewrite(run, put(record(run), ("notes", 0), text))
    assert read_run(run).record.notes[0] == text


def test_script_in_a_key_is_refused(run):
    data = record(run)
    data["provenance"]["versions"][SCRIPT] = "1"
    rewrite(run, data)
    assert refused(run) == "provenance.versions.key"


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 40, "9" * 5000])
def test_numbers_that_are_none(run, value):
    text = (run / "record.json").read_text()
    rewrite(run, text.replace('"robust_accuracy": 0.5', f'"robust_accuracy": {value}'))
    assert refused(run) == "metrics.robust_accuracy"


def test_frozen_data_holds_finite_numbers():
    class Data(Frozen):
        x: float

    for text in ('{"x": NaN}', '{"x": Infinity}', '{"x": "nan"}'):
        with pytest.raises(ValueError, match="finite"):
            Data.model_validate_json(text)


@pytest.mark.parametrize("data", [b"[" * 15_000, b"[" * 40 + b"]" * 40, b'{"a":' * 900 + b"1" + b"}" * 900])
def test_deep_json(data):
    with pytest.raises(RefusedError, match="nested deeper"):
        parse_json(data, "f")


@pytest.mark.parametrize("data", [b'{"a": 1, "a": 1}', b'{"x": [{"b": 1, "b": 2}]}', b"\xff", b"", b"{", b"01"])
def test_json_that_is_not_plain(data):
    with pytest.raises(RefusedError, match="f: "):
        parse_json(data, "f")


def test_a_key_twice_in_a_record(run):
    text = (run / "record.json").read_text()
    rewrite(run, text.replace('"eligible": true', '"eligible": false, "eligible": true'))
    assert refused(run) == "record.json"


def test_files_that_are_too_large_or_none(run, tmp_path):
    path = run / "record.json"
    whole = path.read_bytes()
    with path.open("r+b") as file:
        file.truncate(5_000_000)
    assert refused(run) == "record.json"
    path.unlink()
    (tmp_path / "elsewhere").write_bytes(whole)
    path.symlink_to(tmp_path / "elsewhere")
    assert refused(run) == "record.json"
    path.unlink()
    os.mkfifo(path)
    assert refused(run) == "record.json"
    path.unlink()
    path.mkdir()
    assert refused(run) == "record.json"
    path.rmdir()
    assert refused(run) == "record.json"
    path.write_bytes(whole)
    with (run / "verdicts.parquet").open("r+b") as file:
        file.truncate(300_000_000)
    assert refused(run) == "verdicts.parquet"


def test_a_folder_that_is_a_link_or_has_another_name(run, tmp_path):
    (tmp_path / "results" / ("f" * 16)).symlink_to(run)
    assert refused(tmp_path / "results" / ("f" * 16)) == "folder"
    run.rename(run.with_name("0" * 16))
    assert refused(run.with_name("0" * 16)) == "run_id"


@pytest.mark.parametrize("name", ["target", "source", "data", "verdicts"])
def test_a_digest_that_is_none(run, name):
    rewrite(run, put(record(run), ("digests", name), "zz"))
    assert refused(run) == f"digests.{name}"


@pytest.mark.parametrize("name", ["data", "verdicts"])
def test_a_forged_digest(run, name):
    rewrite(run, put(record(run), ("digests", name), "0" * 64))
    assert refused(run) == f"digests.{name}"


def test_a_forged_spec_or_run_id(run):
    rewrite(run, put(record(run), ("spec", "seed"), 1))
    assert refused(run) == "run_id"
    rewrite(run, put(record(run), ("run_id",), "../../etc"))
    assert refused(run) == "run_id"


METRICS = [
    (("metrics", "clean_accuracy"), 0.9),
    (("metrics", "robust_accuracy_interval"), [0.4, 0.9]),
    (("metrics", "source_clean_accuracy"), 0.5),
]


@pytest.mark.parametrize(("path", "value"), METRICS)
def test_a_figure_that_is_not_that_of_the_rows(run, path, value):
    rewrite(run, put(record(run), path, value))
    both = path[1] in ("clean_accuracy", "source_clean_accuracy")  # the record itself knows the gap between the two
    assert refused(run) == ("metrics" if both else ".".join(path))


def test_a_robust_accuracy_that_is_not_that_of_the_rows(run):
    data = put(record(run), ("metrics", "robust_accuracy"), 1.0)
    rewrite(run, data)
    assert refused(run) == "metrics"
    data["metrics"]["outcomes"] = {"robust": 24, "fooled": 0, "misclassified": 0, "invalid": 0, "error": 0}
    rewrite(run, data)
    assert refused(run).startswith("metrics.")


ROWS = [
    (1, {"adversarial_prediction": 2}, "outcome"),
    (0, {"adversarial_prediction": 2}, "outcome"),
    (0, {"clean_prediction": None}, "outcome"),
    (0, {"outcome": Outcome.MISCLASSIFIED}, "outcome"),
    (2, {"outcome": Outcome.FOOLED}, "outcome"),
    (0, {"distance": 0.125}, "distance"),
    (0, {"distance": None}, "distance"),
    (0, {"distance": float("nan")}, None),
    (0, {"distance": -0.1}, "distance"),
    (0, {"distance": float("inf")}, None),
    (1, {"image_id": "digits-0000"}, "image_id"),
    (1, {"image_id": SCRIPT}, "image_id"),
    (1, {"image_id": ""}, "image_id"),
    (0, {"label": 10, "clean_prediction": 10, "adversarial_prediction": 10}, "label"),
    (0, {"label": -1, "clean_prediction": -1, "adversarial_prediction": -1}, "label"),
    (1, {"adversarial_prediction": 99}, "adversarial_prediction"),
    (0, {"source_prediction": -3}, "source_prediction"),
    (0, {"attack": "apgd"}, "attack"),
    (0, {"attack": "none", "distance": 0.0}, "attack"),
    (0, {"image_sha256": None}, "image_sha256"),
    (0, {"image_sha256": "A" * 64}, "image_sha256"),
    (0, {"image_sha256": SCRIPT}, "image_sha256"),
]


@pytest.mark.parametrize(("at", "values", "column"), ROWS)
def test_rows_that_cannot_be_though_the_record_says_the_same(tmp_path, at, values, column):
    rows = changed(honest_rows(), at, **values)
    try:
        folder = write_run(tmp_path, rows)
    except ValueError:  # our own writer refuses what is not finite
        assert column is None
        return
    assert refused(folder) == f"verdicts.parquet: {column}"


def test_rows_that_are_invalid_or_error_are_not_eligible(tmp_path):
    for outcome, values in (
        (Outcome.INVALID, {"distance": 0.5}),
        (Outcome.ERROR, {"adversarial_prediction": None, "distance": None}),
    ):
        folder = write_run(tmp_path / outcome, changed(honest_rows(), 0, outcome=outcome, **values))
        assert not read_run(folder).record.eligible
        rewrite(folder, {**record(folder), "eligible": True, "ineligible_because": []})
        assert refused(folder) == "eligible"
    modest = write_run(tmp_path / "modest")
    why = [{"code": "weak-source", "text": "no"}]
    rewrite(modest, {**record(modest), "eligible": False, "ineligible_because": why})
    assert refused(modest) == "ineligible_because"
    assert refused(write_run(tmp_path / "silent", audit=[])) == "audit"


def test_protocol_paper_leaves_clean_what_the_source_misses_and_nothing_else(tmp_path):
    paper = {"spec": {"protocol": Protocol.PAPER}}
    clean = {"attack": "none", "distance": 0.0}
    assert refused(write_run(tmp_path / "1", changed(honest_rows(), 0, **clean), **paper)) == "verdicts.parquet: attack"
    missed = changed(honest_rows(), 0, source_prediction=9)
    assert refused(write_run(tmp_path / "2", missed, **paper)) == "verdicts.parquet: attack"
    read_run(write_run(tmp_path / "3", changed(missed, 0, **clean), **paper))
    moved = changed(missed, 0, **{**clean, "distance": 0.015625})
    assert refused(write_run(tmp_path / "4", moved, **paper)) == "verdicts.parquet: distance"


def test_eps_zero_has_no_attack(tmp_path):
    point = {"spec": {"budget": "linf:0"}, "audit": []}
    rows = [dataclasses.replace(r, attack="none", distance=0.0) for r in honest_rows()]
    read_run(write_run(tmp_path / "1", rows, **point))
    assert refused(write_run(tmp_path / "2", changed(rows, 0, attack="pgd"), **point)) == "verdicts.parquet: attack"


SPECS = [
    ({"budget": "linf:1e999999999"}, "spec.budget"),
    ({"budget": "linf:-1/10"}, "spec.budget"),
    ({"budget": "linf:1/0"}, "spec.budget"),
    ({"budget": "linf:2/20"}, "spec.budget"),
    ({"budget": "l7:1"}, "spec.budget"),
    ({"limit": 3}, "spec.limit"),
    ({"stop_at": 1e-300}, "spec.stop_at"),
    ({"shard_size": 2**70}, "spec.shard_size"),
]


@pytest.mark.parametrize(("values", "field"), SPECS)
def test_specs_that_no_run_has(tmp_path, values, field):
    assert refused(write_run(tmp_path, spec=values)) == field


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a b", "", "x" * 20_000, ".hidden", "a/../../b"])
def test_names_that_are_paths(tmp_path, name):
    spec = honest_record(honest_rows()).spec
    for field in ("defense", "threat", "attack"):
        plugin = getattr(spec, field).model_copy(update={"name": name})
        folder = write_run(tmp_path / field / "1", spec={field: plugin})
        assert refused(folder) == f"spec.{field}.name"
    profile = spec.profile.model_copy(update={"name": name})
    assert refused(write_run(tmp_path / "2", spec={"profile": profile})) == "spec.profile.name"
    profile = spec.profile.model_copy(update={"dataset": name})
    assert refused(write_run(tmp_path / "3", spec={"profile": profile})) == "spec.profile.dataset"


def test_a_threat_that_says_it_is_another(run):
    data = record(run)
    for field, value in (("knows", []), ("queries", 3), ("access", "labels"), ("for_transfer", True)):
        rewrite(run, put(data, ("adversary", field), value))
        assert refused(run) == f"adversary.{field}"
    for tier in ("T5", "T9"):
        rewrite(run, put(data, ("adversary", "tier"), tier))
        assert refused(run) == "tier"
        rewrite(run, put({**data, "tier": tier}, ("adversary", "tier"), tier))
        assert refused(run) == "adversary.tier"


def test_titles_that_the_plugins_do_not_give(run):
    data = record(run)
    for kind in ("defense", "attack"):
        told = data["changed"][kind]
        rewrite(run, put(data, ("changed", kind), [] if told else list(data["spec"][kind]["options"])[:1]))
        assert refused(run) == f"changed.{kind}"
    rewrite(run, put(data, ("changed", "attack"), ["nothing"]))
    assert refused(run) == "changed"
    rewrite(run, {**data, "recipe": "lora"})
    assert refused(run) == "recipe"


def test_a_record_of_an_older_schema_says_what_to_do(run):
    rewrite(run, {**record(run), "schema_version": 3})
    with pytest.raises(RefusedError, match="expected 4: delete the run and make it again") as error:
        read_run(run)
    assert error.value.field == "schema_version"


def test_a_key_that_is_not_that_of_the_seed(tmp_path):
    key = honest_record(honest_rows()).spec.key.model_copy(update={"fingerprint": "0" * 16})
    assert refused(write_run(tmp_path, spec={"key": key})) == "spec.key.fingerprint"


def test_images_of_a_size_that_lets_any_distance_pass(tmp_path):
    spec = honest_record(honest_rows()).spec
    profile = spec.profile.model_copy(update={"image_shape": (3, 10**9, 10**9)})
    assert refused(write_run(tmp_path, spec={"profile": profile})).startswith("spec.profile.image_shape")


def test_one_stranger_hides_no_other(tmp_path):
    results = tmp_path / "results"
    good = write_run(results)
    bad = write_run(results, spec={"seed": 0, "budget": "linf:1/0"})
    worse = write_run(results, spec={"batch_size": 7})
    (worse / "record.json").write_bytes(b"[" * 1_000_000)
    (results / SCRIPT.replace("/", "")).mkdir()
    (results / SCRIPT.replace("/", "") / "record.json").write_text("{}")
    (results / ("e" * 16)).symlink_to(good)
    (results / "ladder-only").mkdir()
    (results / "README.md").write_text("")
    taken, refusals = read_all(results)
    assert [e.record.run_id for e in taken] == [good.name]
    fields = {r.run: r.field for r in refusals}
    assert fields == {
        bad.name: "spec.budget",
        worse.name: "record.json",
        SCRIPT.replace("/", ""): "run_id",
        "e" * 16: "folder",
    }
    assert read_all(tmp_path / "nowhere") == ([], [])


def test_a_confirmation_of_other_verdicts_leaves_these_stated(run):
    record = read_run(run).record
    write_confirmation(run, record, ["attack: cannot be checked"])
    confirmation = read_run(run).confirmation
    assert confirmation is not None
    assert (confirmation.run_id, confirmation.images) == (record.run_id, 24)
    path = run / "confirmation.json"
    data = unsealed(path)
    for field, value in (("verdicts", "0" * 64), ("run_id", "0" * 16)):
        path.write_text(json.dumps({**data, field: value}))
        assert read_confirmation(run, record).state == "stated"
        assert read_run(run).stated
    path.write_text(json.dumps({**data, "images": 3}))
    assert refused(run) == "confirmation.images"
    path.write_text(json.dumps({**data, "unchecked": [SCRIPT]}))
    assert refused(run) == "confirmation.unchecked.0"


def test_an_error_line_shows_no_control_character():
    assert tame("\x1b[31m\u202e\n") == "\\x1b[31m\\x202e\\x0a"
    assert len(tame("x" * 10_000)) < 200
    assert Fraction(1, 10) == honest_record(honest_rows()).spec.budget.eps

"""Figures beside the robust accuracy, from the command line on real digits: each follows from the rows."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from bench.engine.summarise import metrics_of
from bench.store.record import write_record
from bench.store.runs import RunStore
from bench.store.verdicts import read_rows, rows_digest, write_rows

PGD = ("run", "--defense", "plain", "--threat", "white-box", "--attack", "pgd")
OWN = ("other_prediction", "noise_prediction", "quantized_prediction", "share")


def run(cli, *argv: str) -> tuple[dict, pd.DataFrame]:
    done = cli(*PGD, *argv, "--json")
    assert done.code == 0, done.err
    record = json.loads(done.out)
    return record, pd.read_parquet(Path("results") / record["run_id"] / "verdicts.parquet")


def test_every_figure_follows_from_the_rows(cli):
    record, rows = run(cli, "--limit", "24", "--quantize", "8")
    metrics, n = record["metrics"], len(rows)
    assert record["spec"]["quantize"] == 8
    assert metrics["paper_accuracy"] == (rows.adversarial_prediction == rows.label).mean()
    right = rows.clean_prediction == rows.label
    assert metrics["quantized_accuracy"] == (right & (rows.quantized_prediction == rows.label)).sum() / n
    held = rows[right & (rows.distance > 0)]
    assert metrics["controls"] == {
        "images": len(held),
        "own": (held.adversarial_prediction == held.label).mean(),
        "other": (held.other_prediction == held.label).mean(),
        "noise": (held.noise_prediction == held.label).mean(),
    }
    assert metrics["controls"]["own"] <= 0.05  # white-box on an undefended model
    assert metrics["controls"]["noise"] >= 0.8
    assert metrics["controls"]["other"] > metrics["controls"]["own"]
    assert metrics["expected_accuracy"] is None  # no member is drawn


def test_they_are_shown_and_judged_again(cli):
    record, _ = run(cli, "--limit", "24", "--quantize", "8")
    shown = " ".join(cli("results", "show", record["run_id"]).out.split())
    controls = record["metrics"]["controls"]
    for text in (
        "as the paper counts",
        "in 8 bits",
        f"{100 * controls['other']:.1f}% stay right under another image's perturbation",
        f"{100 * controls['own']:.1f}% under their own",
    ):
        assert text in shown
    assert "every verdict confirmed" in cli("results", "verify", record["run_id"]).out


def test_a_false_control_is_found(cli):
    """Rows and record agree with each other; the images say otherwise."""
    record, _ = run(cli, "--limit", "24")
    folder = Path("results") / record["run_id"]
    found = RunStore(Path("results")).run(record["run_id"]).read()
    rows = [replace(found.rows[0], noise_prediction=(found.rows[0].noise_prediction + 1) % 10), *found.rows[1:]]
    write_rows(folder / "verdicts.parquet", rows)
    digests = found.record.digests.model_copy(update={"verdicts": rows_digest(rows)})
    write_record(
        folder / "record.json",
        found.record.model_copy(update={"digests": digests, "metrics": metrics_of(rows)}),
    )
    done = cli("results", "verify", record["run_id"])
    assert done.code == 1
    assert "noise_prediction" in done.out


def test_bits_are_part_of_the_run_and_of_its_command(cli):
    plain, rows = run(cli, "--limit", "24")
    rounded, beside = run(cli, "--limit", "24", "--quantize", "8")
    assert "quantize" not in plain["spec"]
    assert plain["run_id"] != rounded["run_id"]
    assert rounded["cost"]["shards_reused"] == rounded["cost"]["shards"]  # the adversarial images are the same
    same = [name for name in rows.columns if name != "quantized_prediction"]
    pd.testing.assert_frame_equal(rows[same], beside[same])
    assert "quantized_prediction" not in rows.columns
    bad = cli(*PGD, "--quantize", "4")
    assert bad.code == 2
    assert "--quantize is 4" in bad.err


def test_no_radius_no_measurement(cli):
    record, rows = run(cli, "--limit", "24", "--eps", "0", "--quantize", "8")
    assert record["metrics"]["controls"] is None
    assert record["metrics"]["quantized_accuracy"] is None
    assert record["metrics"]["paper_accuracy"] == record["metrics"]["clean_accuracy"]
    assert not set(OWN) & set(rows.columns)


def test_images_left_clean_are_not_controlled(cli):
    """Protocol paper, with a source that is often wrong: only what was attacked has a control."""
    argv = ("run", "--defense", "key-full", "--threat", "adaptive-key-free", "--attack", "pgd", "--protocol", "paper")
    done = cli(*argv, "--limit", "60", "--json")
    record = json.loads(done.out)
    rows = pd.read_parquet(Path("results") / record["run_id"] / "verdicts.parquet")
    clean = rows.attack == "none"
    assert rows[clean].noise_prediction.isna().all()
    assert rows[~clean].noise_prediction.notna().all()
    assert record["metrics"]["paper_accuracy"] == (rows.adversarial_prediction == rows.label).mean()
    assert record["metrics"]["paper_accuracy"] >= record["metrics"]["robust_accuracy"]


@pytest.mark.parametrize("more", [(), ("--quantize", "8")])
def test_published_rows_keep_their_columns(cli, more):
    record, rows = run(cli, "--limit", "24", *more)
    before = (Path("results") / record["run_id"] / "verdicts.parquet").read_bytes()
    assert cli("results", "publish", "--as", "some", record["run_id"]).code == 0
    found = RunStore(Path("results")).collections[0].file(record["run_id"], "verdicts.parquet")
    assert found == before
    assert read_rows(Path("results") / record["run_id"] / "verdicts.parquet")[0] == list(
        RunStore(Path("results")).collections[0].rows(record["run_id"])
    )
    assert len(rows) == 24


@pytest.mark.slow
def test_every_member_of_a_drawn_model_is_judged(cli):
    done = cli(
        "run", "--defense", "key-partial", "--threat", "white-box", "--attack", "pgd", "--limit", "40", "--json",
        "--set", "defense.embeddings=2", "--set", "attack.steps=5",
    )  # fmt: skip
    record = json.loads(done.out)
    metrics = record["metrics"]
    rows = pd.read_parquet(Path("results") / record["run_id"] / "verdicts.parquet")
    assert set(rows.share) <= {0.0, 0.5, 1.0}
    right = rows.adversarial_prediction == rows.label  # of the member that the image draws
    assert (rows[right].share > 0).all()
    assert (rows[~right].share < 1).all()
    assert metrics["expected_accuracy"] == pytest.approx(rows.share.mean())
    assert metrics["every_member_accuracy"] == (rows.share == 1).mean()
    assert metrics["every_member_accuracy"] <= metrics["expected_accuracy"]
    assert "of fresh draws are correct" in " ".join(cli("results", "show", record["run_id"]).out.split())
    assert "every verdict confirmed" in cli("results", "verify", record["run_id"]).out


def test_several_attacks_on_one_model_have_two_figures(cli):
    """The best single attack, and the worst case of k tries an image; by hand from the rows."""
    argv = ("--limit", "24", "--eps", "1/40", "--quantize", "8")
    made = [run(cli, *argv, "--set", f"attack.steps={steps}") for steps in (1, 2, 3)]
    robust = [rows.outcome == "robust" for _, rows in made]
    ids = [record["run_id"] for record, _ in made]
    (found,) = json.loads(cli("results", "compare", *ids, "--json").out)["tries"]
    assert found["runs"] == ids
    assert found["best_single"] == min(mask.mean() for mask in robust)
    assert found["worst"] == (robust[0] & robust[1] & robust[2]).mean()
    rounded = [(r.clean_prediction == r.label) & (r.quantized_prediction == r.label) for _, r in made]
    assert found["quantized"] == (rounded[0] & rounded[1] & rounded[2]).mean()
    shown = " ".join(cli("results", "compare", *ids).out.split())
    assert f"worst case of 3 tries an image <= {100 * found['worst']:.1f}%" in shown


def test_an_image_alone_in_its_shard_has_noise_only(cli):
    record, rows = run(cli, "--limit", "3", "--set", "profile.shard_size=1")
    assert record["metrics"]["controls"]["other"] is None
    assert record["metrics"]["controls"]["noise"] is not None
    assert "other_prediction" not in rows.columns
    shown = " ".join(cli("results", "show", record["run_id"]).out.split())
    assert "stay right under noise of the same size" in shown
    assert "every verdict confirmed" in cli("results", "verify", record["run_id"]).out

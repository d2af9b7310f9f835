"""Further measurements from strangers: taken where the judge makes them, refused everywhere else."""

from dataclasses import replace

import pytest

from bench.core.nouns import Outcome
from bench.store.untrusted import RefusedError
from bench.submissions.intake import read_run
from tests.submissions import honest_record, honest_rows, refused, write_run


def full_rows(n: int = 12, **more):
    return [replace(row, other_prediction=row.label, noise_prediction=row.label, **more) for row in honest_rows(n)]


def written(tmp_path, rows, **spec):
    folder = tmp_path / f"results{len(list(tmp_path.iterdir()))}"
    return write_run(folder, rows, **({"spec": spec} if spec else {}))


def taken(tmp_path, rows, **spec):
    return read_run(written(tmp_path, rows, **spec))


def field_of(tmp_path, rows, **spec) -> str:
    return refused(written(tmp_path, rows, **spec))


def test_what_the_judge_measures_is_taken(tmp_path):
    found = taken(tmp_path, full_rows(quantized_prediction=3, share=0.5), quantize=8)
    assert found.record.metrics.controls.other == 1.0
    assert found.record.metrics.expected_accuracy == 0.5
    assert found.rows[0].quantized_prediction == 3


def test_rows_without_them_are_taken_and_have_no_such_column(tmp_path):
    assert taken(tmp_path, honest_rows(12)).record.metrics.controls is None


def test_no_answer_is_minus_one(tmp_path):
    rows = full_rows()
    rows[0] = replace(rows[0], noise_prediction=-1)
    assert taken(tmp_path, rows).record.metrics.controls.noise < 1


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("other_prediction", 10),
        ("other_prediction", -2),
        ("noise_prediction", None),
        ("other_prediction", None),
        ("quantized_prediction", 3),
        ("share", 1.5),
        ("share", 0.5),
    ],
)
def test_one_odd_value_is_refused_with_its_column(tmp_path, column, value):
    rows = full_rows()
    rows[3] = replace(rows[3], **{column: value})
    assert field_of(tmp_path, rows) == f"verdicts.parquet: {column}"


def test_bits_that_the_spec_asks_for_and_the_rows_lack(tmp_path):
    assert field_of(tmp_path, full_rows(), quantize=8) == "verdicts.parquet: quantized_prediction"


def test_an_image_without_a_verdict_has_no_measurement(tmp_path):
    rows = full_rows()
    rows[2] = replace(rows[2], outcome=Outcome.INVALID, distance=0.5)
    assert field_of(tmp_path, rows) == "verdicts.parquet: noise_prediction"
    rows[2] = replace(rows[2], noise_prediction=None)
    assert field_of(tmp_path, rows) == "verdicts.parquet: other_prediction"


def test_an_image_alone_in_its_shard_has_no_other(tmp_path):
    rows = full_rows(13)
    assert field_of(tmp_path, rows, shard_size=12) == "verdicts.parquet: other_prediction"
    rows[12] = replace(rows[12], other_prediction=None)
    assert taken(tmp_path, rows, shard_size=12).record.metrics.controls.images > 0


def test_figures_are_computed_again(tmp_path):
    rows = full_rows()
    record = honest_record(rows)
    better = record.metrics.controls.model_copy(update={"own": 1.0})
    folder = write_run(tmp_path / "results", rows, metrics=record.metrics.model_copy(update={"controls": better}))
    with pytest.raises(RefusedError, match="controls"):
        read_run(folder)
    hidden = record.metrics.model_copy(update={"controls": None})
    with pytest.raises(RefusedError, match="controls"):
        read_run(write_run(tmp_path / "more", rows, metrics=hidden))


def test_a_record_of_an_older_version_does_not_give_the_papers_figure(tmp_path):
    rows = honest_rows(12)
    older = honest_record(rows).metrics.model_copy(update={"paper_accuracy": None})
    assert read_run(write_run(tmp_path / "results", rows, metrics=older)).record.metrics.paper_accuracy is None
    false = older.model_copy(update={"paper_accuracy": 1.0})
    with pytest.raises(RefusedError, match="paper_accuracy"):
        read_run(write_run(tmp_path / "more", rows, metrics=false))

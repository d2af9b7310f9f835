"""Controls and 8-bit images on models for which every figure is known by hand."""

from dataclasses import replace

import pytest
import torch

from bench.core.nouns import Batch, Outcome
from bench.engine.answering import AnsweringHere
from bench.engine.further import NOISE, OTHER, QUANTIZED, further
from bench.engine.judge import decide
from bench.engine.request import make_request
from bench.engine.resolve import resolve
from bench.engine.summarise import metrics_of
from bench.store.keyring import Keyring
from bench.store.verdicts import NOTHING, Row


def bright(x: torch.Tensor) -> torch.Tensor:
    """Class 1 where the mean is above 0.5."""
    m = x.flatten(1).mean(1)
    return torch.stack([0.5 - m, m - 0.5], 1)


def spec_of(tmp_path, eps="1/10", **more):
    return resolve(
        make_request({"defense": "plain", "threat": "white-box", "eps": eps, **more}), Keyring(tmp_path)
    ).spec


def batch_of(*means: float, side: int = 8) -> Batch:
    x = torch.stack([torch.full((3, side, side), m) for m in means])
    return Batch(tuple(f"i{k}" for k in range(len(means))), x, torch.zeros(len(means), dtype=torch.int64))


def rows_of(model, spec, batch, x_adv, failed=None) -> list[Row]:
    """The rows of a shard, as a run makes them."""
    failed = failed or [False] * len(batch)
    more = further(spec, batch, x_adv, failed)
    judged = decide(AnsweringHere(model, 4), batch, x_adv, spec.budget, list(more.versions.values()))
    columns = more.columns(judged.more)
    rows = []
    for i, verdict in enumerate(judged.verdicts):
        outcome = Outcome.ERROR if failed[i] else verdict.outcome
        own = {name: values[i] for name, values in columns.items()}
        row = Row(batch.ids[i], 0, verdict.clean_prediction, verdict.adversarial_prediction, outcome,
                  verdict.distance, "pgd", 0, "a" * 64)  # fmt: skip
        rows.append(replace(row, **own))
    return rows


def test_controls_by_hand(tmp_path):
    """Three images at 0.45 that +0.1 makes wrong, one at 0.2 with -0.1: nobody keeps its own perturbation.

    Under another one's the image at 0.2 stays right, and so does the one that gets -0.1; random signs do nothing.
    """
    spec, batch = spec_of(tmp_path), batch_of(0.45, 0.45, 0.2, 0.45)
    rows = rows_of(bright, spec, batch, batch.images + torch.tensor([0.1, 0.1, -0.1, 0.1]).view(4, 1, 1, 1))
    found = metrics_of(rows).controls
    assert (found.images, found.own, found.other, found.noise) == (4, 0.25, 0.5, 1.0)
    assert all(row.quantized_prediction is None and row.share is None for row in rows)


def test_every_image_gets_the_perturbation_of_exactly_one_other(tmp_path):
    spec, n = spec_of(tmp_path), 7
    batch = batch_of(*[0.5] * n)
    own = torch.arange(1, n + 1) / 100
    more = further(spec, batch, batch.images + own.view(n, 1, 1, 1), [False] * n)
    given = (more.versions[OTHER] - batch.images).flatten(1).mean(1)
    assert sorted((100 * given).round().int().tolist()) == list(range(1, n + 1))
    assert ((given - own).abs() > 0.005).all()


@pytest.mark.parametrize(("norm", "order"), [("linf", None), ("l2", 2), ("l1", 1)])
def test_noise_is_as_large_as_the_own_perturbation_in_no_direction_of_it(tmp_path, norm, order):
    spec, batch = spec_of(tmp_path, norm=norm, eps="1/2", attack="pgd"), batch_of(0.5, 0.5, side=16)
    x = batch.images.clone()
    x[0, :, :2] += 0.001
    x[1, :, :1] -= 0.002
    noise = further(spec, batch, x, [False, False]).versions[NOISE] - batch.images
    size = [torch.linalg.vector_norm(d.flatten(1), order or torch.inf, dim=1) for d in (noise, x - batch.images)]
    assert torch.allclose(*size, rtol=1e-3)
    assert abs(torch.nn.functional.cosine_similarity(*(d[0].flatten() for d in (noise, x - batch.images)), dim=0)) < 0.2
    again = further(spec, Batch(batch.ids[:1], batch.images[:1], batch.labels[:1]), x[:1], [False])
    assert torch.equal(again.versions[NOISE][0] - batch.images[0], noise[0])  # in any company
    assert OTHER not in again.versions  # an image alone has no other


def test_only_images_that_a_valid_attack_moved_are_controlled(tmp_path):
    spec = spec_of(tmp_path, quantize=8)
    batch = batch_of(0.45, 0.45, 0.45, 0.45, 0.6)
    x = batch.images + torch.tensor([0.1, 0.3, 0.0, 0.1, 0.1]).view(5, 1, 1, 1)
    rows = rows_of(bright, spec, batch, x, failed=[False, False, False, True, False])
    outcomes = [Outcome.FOOLED, Outcome.INVALID, Outcome.ROBUST, Outcome.ERROR, Outcome.MISCLASSIFIED]
    assert [row.outcome for row in rows] == outcomes
    assert [row.noise_prediction is not None for row in rows] == [True, False, False, False, True]
    assert [row.other_prediction is not None for row in rows] == [True, False, False, False, True]
    assert [row.quantized_prediction is not None for row in rows] == [True, False, True, False, True]
    assert metrics_of(rows).controls.images == 1  # the one that is right without attack
    assert metrics_of(rows).quantized_accuracy == 1 / 5


def test_without_a_radius_nothing_more_is_asked(tmp_path):
    batch = batch_of(0.45, 0.45)
    assert not further(spec_of(tmp_path, eps="0", quantize=8), batch, batch.images, [False, False]).versions


def test_rounding_undoes_what_lies_between_two_levels(tmp_path):
    """The model is wrong between two levels only: every attack succeeds, and none survives an image file."""

    def between(x: torch.Tensor) -> torch.Tensor:
        off = ((x * 255) - (x * 255).round()).abs().flatten(1).mean(1)
        return torch.stack([0.1 - off, off - 0.1], 1)

    spec, batch = spec_of(tmp_path, quantize=8), batch_of(100 / 255, 50 / 255)
    rows = rows_of(between, spec, batch, batch.images + 3.4 / 255)
    found = metrics_of(rows)
    assert (found.robust_accuracy, found.quantized_accuracy) == (0.0, 1.0)


def test_the_papers_figure_counts_what_is_wrong_without_attack(tmp_path):
    spec, batch = spec_of(tmp_path), batch_of(0.45, 0.55, 0.55, 0.2)
    x = batch.images + torch.tensor([0.1, -0.1, 0.1, 0.3]).view(4, 1, 1, 1)  # the last leaves the ball
    rows = rows_of(bright, spec, batch, x)
    found = metrics_of(rows)
    assert (found.robust_accuracy, found.paper_accuracy) == (0.0, 0.25)


def test_an_answer_that_is_not_finite_counts_as_wrong(tmp_path):
    def silent(x: torch.Tensor) -> torch.Tensor:
        rough = x.flatten(1).std(1, keepdim=True) > 0.01
        return torch.where(rough, torch.nan, bright(x))

    spec, batch = spec_of(tmp_path), batch_of(0.2, 0.3)
    rows = rows_of(silent, spec, batch, batch.images + 0.1)
    assert [row.noise_prediction for row in rows] == [NOTHING, NOTHING]
    assert metrics_of(rows).controls.noise == 0.0
    assert QUANTIZED not in further(spec, batch, batch.images, [False, False]).versions

"""The judge on models whose answers are known."""

import pytest
import torch

from bench.core.budget import Budget
from bench.core.errors import InputError, ShapeError
from bench.core.nouns import Batch, Outcome
from bench.engine.judge import judge, predict

BUDGET = Budget.parse("linf:0.1")


def bright(x: torch.Tensor) -> torch.Tensor:
    """Class 1 where the mean is above 0.5."""
    m = x.flatten(1).mean(1)
    return torch.stack([0.5 - m, m - 0.5], 1)


def batch(*means: float, labels: list[int]) -> Batch:
    x = torch.stack([torch.full((3, 4, 4), m) for m in means])
    return Batch(tuple(f"i{k}" for k in range(len(means))), x, torch.tensor(labels))


def test_every_outcome():
    b = batch(0.45, 0.2, 0.45, 0.45, 0.45, 0.05, labels=[0, 0, 1, 0, 0, 0])
    x = b.images.clone()
    x[0] += 0.1  # fooled
    x[1] += 0.1  # robust
    x[3] += 0.2  # out of budget
    x[4] = float("nan")
    x[5] -= 0.1  # out of the box
    verdicts = judge(bright, b, x, BUDGET)
    assert [v.outcome for v in verdicts] == [
        Outcome.FOOLED, Outcome.ROBUST, Outcome.MISCLASSIFIED, Outcome.INVALID, Outcome.INVALID, Outcome.INVALID,
    ]  # fmt: skip
    assert verdicts[0].clean_prediction == 0
    assert verdicts[0].adversarial_prediction == 1
    assert verdicts[0].distance == pytest.approx(0.1, abs=1e-6)
    assert verdicts[4].distance is None
    assert verdicts[4].adversarial_prediction is None


def test_an_invalid_candidate_never_counts_for_or_against():
    """Out of budget it would fool; wrong on clean it would be misclassified: INVALID both times, so that it shows."""
    b = batch(0.45, 0.45, labels=[0, 1])
    assert {v.outcome for v in judge(bright, b, b.images + 0.3, BUDGET)} == {Outcome.INVALID}


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_float32_rounding_at_the_rim_is_no_offence_and_more_is(norm):
    radius = {"linf": 0.1, "l2": 0.5, "l1": 3.0}[norm]
    budget = Budget.parse(f"{norm}:{radius}")
    pixels = 3 * 32 * 32
    step = {"linf": radius, "l2": radius / pixels**0.5, "l1": radius / pixels}[norm]
    x = torch.rand(20, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.2
    b = Batch(tuple(map(str, range(20))), x, torch.zeros(20, dtype=torch.int64))
    assert all(v.outcome is not Outcome.INVALID for v in judge(bright, b, x + step, budget))
    assert all(v.outcome is Outcome.INVALID for v in judge(bright, b, x + step * 1.001, budget))


def test_logits_that_are_not_finite_are_no_prediction():
    def silent(x: torch.Tensor) -> torch.Tensor:
        return torch.where(x.flatten(1).mean(1, keepdim=True) > 0.5, torch.nan, bright(x))

    b = batch(0.2, 0.45, 0.8, labels=[0, 0, 1])
    verdicts = judge(silent, b, (b.images + 0.1).clamp(0, 1), BUDGET)
    assert [v.outcome for v in verdicts] == [Outcome.ROBUST, Outcome.FOOLED, Outcome.MISCLASSIFIED]
    assert predict(silent, b.images)[2] is None


def test_another_shape_or_dtype_is_refused():
    b = batch(0.5, labels=[0])
    with pytest.raises(ShapeError, match="expected"):
        judge(bright, b, b.images[:, :1], BUDGET)
    with pytest.raises(ShapeError, match="float64"):
        judge(bright, b, b.images.double(), BUDGET)


def test_an_image_is_judged_alike_in_any_company():
    """A model whose rows depend on the shape of the batch is given one shape only."""

    def shapely(x: torch.Tensor) -> torch.Tensor:
        return bright(x) * (1 if len(x) == 64 else -1)

    b = batch(*[0.3] * 70, labels=[0] * 70)
    together = predict(shapely, b.images)
    alone = [predict(shapely, b.images[i : i + 1])[0] for i in range(70)]
    assert together == alone == [0] * 70


@pytest.mark.parametrize(("answer", "got"), [
    (lambda z: (z, z), "a tuple"),
    (lambda z: {"logits": z}, "a dict"),
    (lambda z: z.argmax(1), r"a torch.int64 tensor of shape \(64,\)"),
    (lambda z: z[:, 0], r"a torch.float32 tensor of shape \(64,\)"),
    (lambda z: z[:1], r"a torch.float32 tensor of shape \(1, 2\)"),
    (lambda z: z.numpy(), "a ndarray"),
])  # fmt: skip
def test_a_model_that_does_not_answer_with_logits_is_named(answer, got):
    b = batch(0.2, 0.8, labels=[0, 1])
    with pytest.raises(InputError, match=rf"answers 64 images with {got}; expected logits"):
        predict(lambda x: answer(bright(x)), b.images)

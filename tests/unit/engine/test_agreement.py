"""When answers count as different, and what a run says about it."""

import pytest
import torch
from torch import nn

from bench.core.budget import Budget
from bench.core.nouns import Batch
from bench.engine.agreement import Agreement, found_of_agreement
from bench.engine.answering import AnsweringHere
from bench.engine.comparison import Asking, compare, difference
from bench.engine.judge import decide
from bench.store.record import Found

ROWS, COUNT = 8, 40


class Model(nn.Module):
    """A linear model with a fault: ``change(logits, images)``."""

    def __init__(self, change=lambda logits, x: logits):
        super().__init__()
        self.weight, self.change = torch.randn(12, 3, generator=torch.Generator().manual_seed(0)), change

    def forward(self, x):
        return self.change((x.flatten(1) - 0.5) @ self.weight, x)


def agreed(model, margins=None, audit=()):
    x = torch.rand(COUNT, 3, 2, 2, generator=torch.Generator().manual_seed(1)) * 0.8 + 0.1
    candidates = (x + 0.3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(2)).sign()).clamp(0, 1)
    honest = Model()
    batch = Batch(tuple(map(str, range(COUNT))), x, honest(x).argmax(1))
    here = AnsweringHere(model, ROWS)
    judged = decide(here, batch, candidates, Budget.parse("linf:0.4"))
    counts = Agreement()
    seen = margins(honest(candidates), batch.labels) if margins else None
    counts.add(compare(judged, batch, candidates, seen, Asking(here, here, ROWS, torch.Generator().manual_seed(3))))
    return found_of_agreement(counts, ROWS, list(audit))


def lead(logits, labels):
    own = logits.gather(1, labels[:, None])
    return (logits.scatter(1, labels[:, None], -torch.inf).amax(1, keepdim=True) - own).squeeze(1)


def true(logits, labels):
    return lead(logits, labels).tolist()


def lifted(logits, x):
    """Another class at the shape of the judge alone."""
    return logits.roll(1, 1) if len(x) == ROWS else logits


@pytest.mark.parametrize(
    "change",
    [
        lambda logits, x: logits,
        lambda logits, x: logits * (1 + 1e-6 * len(x)),
        lambda logits, x: logits.bfloat16(),
        lambda logits, x: torch.cat([logits, torch.full_like(logits[:, :1], -1e6)], 1),
        lambda logits, x: logits[:, :2],
    ],
)
def test_rounding_and_other_outputs_are_no_difference(change):
    assert agreed(Model(change)).status == "pass"


def test_the_margins_of_the_attack_agree_with_an_honest_judge():
    found = agreed(Model(), true)
    assert found.status == "pass"
    assert "the attack saw the same at 40 candidates" in found.meaning


def test_what_fooled_the_attack_and_not_the_judge_fails():
    found = agreed(Model(), lambda logits, labels: [5.0] * COUNT)
    assert found.status == "fail"
    assert "fooled the attack's model and not the judge's" in found.meaning


def test_what_fooled_the_judge_and_not_the_attack_fails_too():
    found = agreed(Model(), lambda logits, labels: [-5.0] * COUNT)
    assert found.status == "fail"
    assert "the judge's and not the attack's" in found.meaning


def test_an_attack_that_sees_labels_only_is_compared_by_sign():
    assert agreed(Model(), lambda logits, labels: (lead(logits, labels).sign() * 1e30).tolist()).status == "pass"
    assert agreed(Model(), lambda logits, labels: (lead(logits, labels).sign() * -1e30).tolist()).status == "fail"


def test_margins_that_the_attack_did_not_report_are_asked_for():
    assert "at 40 candidates" in agreed(Model(), lambda logits, labels: [None] * COUNT).meaning


def test_another_answer_at_the_shape_of_the_judge_fails_and_names_the_sizes():
    found = agreed(Model(lifted))
    assert found.status == "fail"
    assert "batches of 8" in found.meaning


def test_another_answer_for_a_gradient_fails():
    assert agreed(Model(lambda logits, x: logits.roll(1, 1) if x.requires_grad else logits)).status == "fail"


def test_the_same_classes_by_other_logits_are_other_answers():
    assert agreed(Model(lambda logits, x: logits * 1e-9 if len(x) == ROWS else logits), true).status == "fail"


def test_a_model_that_is_known_to_be_random_is_not_compared_and_an_unknown_one_fails():
    torch.manual_seed(0)
    noisy = Model(lambda logits, x: logits + torch.randn_like(logits))
    known = Found(check="repetition", status="fail", figure=1.0, meaning="")
    assert agreed(noisy, audit=[known]).status == "skipped"
    found = agreed(noisy)
    assert (found.status, "same batch twice" in found.meaning) == ("fail", True)


def test_logits_that_are_not_finite_differ_from_finite_ones_only():
    one = torch.tensor([[1.0, 2.0], [torch.nan, 0.0], [torch.nan, 0.0]])
    other = torch.tensor([[1.0, 2.0], [torch.nan, 0.0], [1.0, 0.0]])
    assert difference(one, other).tolist() == [0.0, 0.0, torch.inf]

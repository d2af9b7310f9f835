"""RayS on a network: labels only, every query counted, the limit kept, the batch without effect."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.core.ball import allowance, distance
from bench.core.budget import Budget, Norm
from bench.core.nouns import Access, Adversary, Batch
from bench.core.registry import registry
from tests.oracle.autoattack import zoo

BUDGET = Budget.parse("linf:0.1")
COUNT = 30


class Answers:
    """One-hot labels of the CNN, from a plain callable; counts its calls, and sees that rows only repeat the first."""

    def __init__(self, images: int) -> None:
        self.calls, self.images, self.model = 0, images, zoo.zoo("cnn")

    def __call__(self, x: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        assert ((x >= 0) & (x <= 1)).all()
        assert all(torch.equal(row, x[0]) for row in x[self.images :])
        self.calls += 1
        return F.one_hot(self.model(x).argmax(1), 10).float()


def attacked(batch: Batch, queries: int = 300, *, seed: int = 0, limit: int | None = None, size: int | None = None):
    """Candidates, the source, and the meter."""
    source = Answers(len(batch))
    who = Adversary(source, BUDGET, seed, batch_size=size, queries=limit)
    out = registry("attacks").make("rays", {"queries": queries}).perturb(who, batch)
    return out, source, who.meters["rays"]


def wrong(batch: Batch, images: Tensor) -> Tensor:
    model = zoo.zoo("cnn")
    with torch.no_grad():
        return model(images).argmax(1) != batch.labels


def test_each_image_spends_its_queries_and_not_one_more():
    """A lone image is asked once in each call."""
    batch = zoo.batch(COUNT)
    whole, _, meter = attacked(batch)
    clean, fooled = wrong(batch, batch.images), wrong(batch, whole)
    assert (distance(whole, batch.images, Norm.LINF) <= BUDGET.radius + allowance(BUDGET, 768)).all()
    assert ((whole >= 0) & (whole <= 1)).all()
    assert clean.any()
    assert 5 < int((fooled & ~clean).sum()) < 25
    assert meter.fooled == int((fooled & ~clean).sum())
    spent = []
    for i in range(COUNT):
        out, source, alone = attacked(batch.take([i]))
        assert torch.equal(out[0], whole[i])
        assert source.calls == alone.forwards
        spent.append(source.calls)
        if clean[i]:
            assert source.calls == 1
            assert torch.equal(out, batch.images[i : i + 1])
        elif fooled[i]:
            assert source.calls <= 300
        else:
            assert source.calls == 300
            assert not torch.equal(out, batch.images[i : i + 1])
    assert meter.forwards == sum(spent)


@pytest.mark.parametrize(("own", "given", "most"), [(90, 40, 40), (40, 90, 40), (40, None, 40), (90, 1, 1), (90, 0, 0)])
def test_the_smaller_limit_holds(own, given, most):
    _, source, meter = attacked(zoo.batch(8), own, limit=given)
    assert source.calls == most
    assert meter.forwards <= 8 * most


def test_the_batch_changes_no_image_and_the_seed_does():
    batch = zoo.batch(COUNT)
    whole, _, _ = attacked(batch, 100)
    for size in (1, 7):
        out, source, _ = attacked(batch, 100, size=size)
        assert torch.equal(out, whole)
    assert source.calls < 5 * 100  # slots are filled again as images leave: fewer than five shares of 7 would take
    order = [8, 2, 21]
    assert torch.equal(attacked(batch.take(order), 100)[0], whole[order])
    assert not torch.equal(attacked(batch, 100, seed=1)[0], whole)


def test_scores_are_read_for_their_label_alone():
    batch = zoo.batch(8)
    model = zoo.zoo("cnn")
    scores = registry("attacks").make("rays", {"queries": 100}).perturb(Adversary(model, BUDGET, 0), batch)
    assert torch.equal(scores, attacked(batch, 100)[0])


def test_it_says_what_it_needs():
    assert registry("attacks").load("rays").needs is Access.LABELS
    assert registry("attacks").load("rays").norms == {Norm.LINF}

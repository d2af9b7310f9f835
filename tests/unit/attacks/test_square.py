"""Square alone: scores only, every query counted, the limit kept, no query in vain."""

import pytest
import torch
from torch import Tensor

from bench.core.ball import allowance, distance
from bench.core.budget import Budget, Norm
from bench.core.nouns import Access, Adversary, Batch
from bench.core.registry import registry
from tests.oracle.autoattack import zoo

BUDGETS = [Budget.parse("linf:0.12"), Budget.parse("l2:1.5")]


class Answers:
    """Scores without a graph, from a plain callable that remembers how often each image was asked.

    Whose image a row is, is told by its distance; rows of a call that are equal are one query.
    """

    def __init__(self, images: Batch) -> None:
        self.images, self.asked, self.rows = images, [0] * len(images), 0
        self.model = zoo.exact("cnn")

    def __call__(self, x: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        self.rows += len(x)
        for row in torch.unique(x, dim=0):
            self.asked[int((self.images.images - row).flatten(1).square().sum(1).argmin())] += 1
        return self.model(x)


def attacked(
    budget: Budget, count: int = 30, own: int = 200, queries: int | None = None
) -> tuple[Batch, Answers, Tensor, int]:
    """Images, source, candidates and the queries that the attack says it spent."""
    batch = zoo.batch(count)
    source = Answers(batch)
    who = Adversary(source, budget, 0, queries=queries)
    out = registry("attacks").make("square", {"queries": own}).perturb(who, batch)
    return batch, source, out, sum(meter.forwards for meter in who.meters.values())


def wrong(batch: Batch, images: Tensor) -> Tensor:
    model = zoo.zoo("cnn")
    with torch.no_grad():
        return model(images).argmax(1) != batch.labels


@pytest.mark.parametrize("budget", BUDGETS, ids=str)
def test_each_image_spends_its_queries_and_not_one_more(budget):
    batch, source, out, forwards = attacked(budget)
    clean, fooled = wrong(batch, batch.images), wrong(batch, out)
    assert (distance(out, batch.images, budget.norm) <= budget.radius + allowance(budget, 768)).all()
    assert ((out >= 0) & (out <= 1)).all()
    assert 5 < int((fooled & ~clean).sum()) < 25  # both kinds are here
    assert sum(source.asked) == forwards < source.rows  # rows that fill the batch up are no queries
    for asked, bad, done, image, before in zip(source.asked, clean, fooled, out, batch.images, strict=True):
        if bad:  # wrong as it is: looked at, left alone
            assert asked == 1
            assert torch.equal(image, before)
        elif done:
            assert 2 <= asked <= 200
        else:  # it stands: everything is spent, and the best point is handed back
            assert asked == 200
            assert not torch.equal(image, before)
    assert min(a for a, bad in zip(source.asked, clean, strict=True) if not bad) < 50


@pytest.mark.parametrize(("own", "given", "most"), [(100, 40, 40), (40, 100, 40), (40, None, 40), (100, 3, 3)])
def test_the_smaller_limit_holds(own, given, most):
    _, source, _, forwards = attacked(Budget.parse("linf:0.01"), 10, own, queries=given)
    assert max(source.asked) == most
    assert forwards <= 10 * most


def test_with_no_window_to_try_nothing_is_asked_and_it_is_said():
    with pytest.warns(UserWarning, match="2 queries leave no window"):
        batch, source, out, _ = attacked(BUDGETS[0], 4, 100, queries=2)
    assert torch.equal(out, batch.images)
    assert source.rows == 0


@pytest.mark.parametrize("budget", BUDGETS, ids=str)
def test_the_batch_changes_no_image(budget):
    batch, _, out, _ = attacked(budget, 20, 80)
    for rows in (range(7, 20), [3]):
        part = batch.take(rows)
        who = Adversary(Answers(part), budget, 0, batch_size=5)
        again = registry("attacks").make("square", {"queries": 80}).perturb(who, part)
        assert torch.equal(again, out[list(rows)])
    other = registry("attacks").make("square", {"queries": 80}).perturb(Adversary(Answers(batch), budget, 1), batch)
    assert not torch.equal(other, out)


def test_it_finds_what_the_part_of_autoattack_finds_that_looks_ahead():
    """Ahead or not, the same windows are tried in the same order; two queries are the clean look and the start."""
    batch, _, out, _ = attacked(BUDGETS[0], 30, 202)
    options = {"version": "custom", "attacks": ["square"], "queries": 200}
    ahead = registry("attacks").make("autoattack", options).perturb(Adversary(zoo.zoo("cnn"), BUDGETS[0], 0), batch)
    assert torch.equal(wrong(batch, out), wrong(batch, ahead))


def test_it_says_what_it_needs():
    assert registry("attacks").load("square").needs is Access.SCORES
    assert registry("attacks").load("square").norms == {Norm.LINF, Norm.L2}

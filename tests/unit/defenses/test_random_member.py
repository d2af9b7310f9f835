"""One of several keyed embeddings answers for an image: fairly, afresh for every image, and alike for every judge."""

import torch
from torch import nn

from bench.defenses.key_partial import RandomMember


class Says(nn.Module):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def forward(self, images):
        return torch.full((len(images), 2), float(self.number)) + 0 * images.mean((1, 2, 3))[:, None]


def ensemble(count: int, seed: int = 0) -> RandomMember:
    return RandomMember([Says(i) for i in range(count)], seed)


def pictures(count: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def test_every_member_answers_for_its_share():
    answers = ensemble(3)(pictures(3000))[:, 0]
    for number in range(3):
        assert 0.29 < (answers == number).float().mean() < 0.38


def test_the_smallest_change_draws_again_and_so_does_another_seed():
    images = pictures(1000)
    before = ensemble(4)(images)[:, 0]
    moved = images.clone()
    moved[:, 0, 3, 5] += 1e-6
    for after in (ensemble(4)(moved)[:, 0], ensemble(4, seed=1)(images)[:, 0]):
        assert 0.18 < (after == before).float().mean() < 0.32  # a quarter by chance


def test_an_image_is_answered_alike_in_any_company():
    images = pictures(64)
    together = ensemble(5)(images)
    assert torch.equal(together, torch.cat([ensemble(5)(part) for part in images.split(7)]))
    assert torch.equal(together.flip(0), ensemble(5)(images.flip(0)))


def test_gradients_come_from_the_member_that_answers():
    scaled = RandomMember([nn.Sequential(nn.Flatten(), nn.Linear(768, 2)) for _ in range(3)], 0)
    images = pictures(8).requires_grad_()
    (gradient,) = torch.autograd.grad(scaled(images).sum(), images)
    for i, member in enumerate(scaled.draw(images).tolist()):
        expected = scaled.members[member][1].weight.sum(0).view(3, 16, 16)
        assert torch.allclose(gradient[i], expected)

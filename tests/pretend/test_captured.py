"""Calls captured for a device give what ordinary calls give, in any order of use."""

from __future__ import annotations

import warnings
from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn

from bench.attacks.autoattack.attack import AutoAttack
from bench.attacks.autoattack.captured import Captured
from bench.core.budget import Budget, Norm
from bench.core.nouns import Adversary, Batch, Precision
from tests.pretend.device import BACKEND
from tests.pretend.models import images, small_vit

LONG = {"version": "custom", "attacks": ("apgd-ce",), "iterations": 60}


class Reading(nn.Module):
    """Looks at a value, for which a device must be waited for."""

    traceable = True

    def __init__(self) -> None:
        super().__init__()
        self.inner = small_vit()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) * (1.0 if float(x.sum()) > -1 else 2.0)


def attacked(source: nn.Module, device: str, precision: Precision = Precision.FP32) -> tuple[Tensor, list[str]]:
    batch = images(6)
    labels = source(batch.images).argmax(1)
    who = Adversary(source.to(device), Budget(Norm.LINF, Fraction(1, 500)), 3, batch_size=4, precision=precision)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        out = AutoAttack(**LONG).perturb(who, Batch(batch.ids, batch.images, labels).to(device)).cpu()
    return out, [str(w.message) for w in said]


def test_an_attack_finds_the_same_with_captured_calls(device):
    here, _ = attacked(small_vit(), "cpu")
    there, said = attacked(small_vit(), device)
    assert BACKEND.replays > 50
    assert torch.equal(here, there)
    assert not any("captured" in text for text in said)


def test_a_model_that_cannot_be_captured_is_called_as_it_is_and_named(device):
    here, _ = attacked(Reading().eval(), "cpu")
    there, said = attacked(Reading().eval(), device)
    assert torch.equal(here, there)
    assert any("not captured" in text and "capturing: a value is read" in text for text in said), said


def slope(model, x: Tensor, at: int) -> Tensor:
    leaf = x.clone().requires_grad_()
    return torch.autograd.grad(model(leaf)[:, at].sum(), leaf)[0].cpu()


def test_results_outlive_later_calls_and_a_gradient_does_not_need_its_forward_to_be_the_last(device):
    model = small_vit().to(device)
    captured = Captured(model, after=0)
    one, other = images(8).images.to(device), images(8).images.flip(0).to(device)
    with torch.no_grad():
        kept, expected = captured(one), model(one).cpu()
        captured(other)
    assert torch.equal(kept.cpu(), expected)
    leaf = one.clone().requires_grad_()
    logits = captured(leaf)
    later = captured(other.clone().requires_grad_())  # overwrites what the first forward left for its gradient
    for at in range(3):  # several gradients of one forward
        found = torch.autograd.grad(logits[:, at].sum(), leaf, retain_graph=True)[0]
        assert torch.equal(found.cpu(), slope(model, one, at))
    assert later.requires_grad
    assert BACKEND.replays > 0


@pytest.mark.parametrize("rows", [4, 6])
def test_rare_shapes_are_not_captured(device, rows):
    captured = Captured(small_vit().to(device))
    with torch.no_grad():
        for _ in range(8):
            captured(images(rows).images.to(device))
        assert BACKEND.replays == 0
        captured(images(rows).images.to(device))
    assert BACKEND.replays == 1


def test_memory_that_runs_out_releases_what_was_captured(device):
    captured = Captured(small_vit().to(device), after=0)
    x = images(8).images.to(device)
    with torch.no_grad():
        captured(x)
        before = BACKEND.replays
        BACKEND.most_rows = 4
        with pytest.raises(torch.OutOfMemoryError):
            captured(images(6).images.to(device))
        BACKEND.most_rows = None
        captured._after = 99
        captured(x)
    assert BACKEND.replays == before  # the captured call of 8 rows is gone

"""On a GPU the engine reaches the verdicts that it reaches on the CPU."""

from __future__ import annotations

import copy

import pytest
import torch

from bench.attacks.autoattack.attack import AutoAttack
from bench.attacks.autoattack.captured import Captured
from bench.core.budget import Norm
from bench.core.nouns import Adversary, Precision
from tests.oracle.autoattack import zoo

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is here")]


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16])
@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
def test_verdicts_on_a_gpu_are_those_on_the_cpu(norm: Norm, precision: Precision) -> None:
    net, images = zoo.zoo("robust"), zoo.batch(200)
    attack, budget = AutoAttack(iterations=30, queries=250, targets=3), zoo.radius(norm, [0.12, 1.2][norm is Norm.L2])
    host = zoo.fooled(net, attack.perturb(Adversary(net, budget), images), images.labels)
    there = Adversary(copy.deepcopy(net).cuda(), budget, precision=precision)
    candidates = attack.perturb(there, images.to("cuda"))
    device = zoo.fooled(net, candidates.cpu(), images.labels)
    assert int((host != device).sum()) <= 2
    assert all(meter.model_seconds > 0 for meter in there.meters.values() if meter.forwards)


def test_captured_calls_give_what_ordinary_calls_give() -> None:
    net, x = copy.deepcopy(zoo.zoo("vit")).requires_grad_(False).cuda(), zoo.batch(32).images.cuda()
    captured = Captured(net, after=0)
    for images in (x[:16], x, x[16:], x):
        leaf, own = images.clone().requires_grad_(), images.clone().requires_grad_()
        logits, expected = captured(leaf), net(own)
        captured(images.flip(0).clone().requires_grad_())  # overwrites what the first forward left
        slope = torch.autograd.grad(logits.square().sum(), leaf)[0]
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(slope, torch.autograd.grad(expected.square().sum(), own)[0], rtol=1e-3, atol=1e-3)
    assert not captured.why

"""Every registered attack finds on the pretended device what it finds on the CPU, bit for bit."""

from __future__ import annotations

import warnings
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.core.ball import allowance, distance
from bench.core.budget import Budget, Norm
from bench.core.errors import NotApplicableError
from bench.core.nouns import Adversary, Batch, Precision
from bench.core.registry import registry
from tests.pretend.device import BACKEND
from tests.pretend.models import images, linear, small_vit

SHORT = {"steps": 3, "iterations": 5, "queries": 40, "samples": 2, "neighbours": 1, "flat": 1, "scales": 2,
         "targets": 2}  # fmt: skip
RADIUS = {Norm.LINF: Fraction(1, 100), Norm.L2: Fraction(1, 8), Norm.L1: Fraction(2)}
ATTACKS = [
    (name, norm) for name in registry("attacks").names() for norm in sorted(registry("attacks").load(name).norms)
]


def case(name: str, norm: Norm) -> Any:
    """The package's 100 steps take seconds."""
    long = name == "autoattack-reference" and norm is not Norm.LINF
    return pytest.param(name, norm, id=f"{name}-{norm}", marks=[pytest.mark.slow] if long else [])


def made(name: str) -> Any:
    fields = registry("attacks").load(name).model_fields
    official = {"version": "custom", "attacks": ["apgd-ce"]} if name == "autoattack-reference" else {}
    return registry("attacks").make(name, {k: v for k, v in SHORT.items() if k in fields} | official)


def source_for(name: str) -> nn.Module:
    try:
        made(name).check(linear())
    except NotApplicableError:  # on vision transformers only
        return small_vit()
    return linear()


def attacked(
    name: str, norm: Norm, device: str, precision: Precision = Precision.FP32, rows: int | None = 4
) -> tuple[Tensor, Adversary]:
    """Candidates on the CPU, and what the attack reported."""
    batch, source = images(6), source_for(name)
    labels = source(batch.images).argmax(1)
    who = Adversary(source.to(device), Budget(norm, RADIUS[norm]), 3, batch_size=rows, precision=precision)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it has to say is for the record
        return made(name).perturb(who, Batch(batch.ids, batch.images, labels).to(device)).cpu(), who


@pytest.mark.parametrize(("name", "norm"), [case(*one) for one in ATTACKS])
def test_candidates_are_those_of_the_cpu(name, norm, device):
    here, told = attacked(name, norm, "cpu")
    there, told_there = attacked(name, norm, device)
    assert torch.equal(here, there)
    assert told.margins == told_there.margins
    fooled, fooled_there = ({k: m.fooled for k, m in who.meters.items()} for who in (told, told_there))
    assert fooled == fooled_there


LOW = [(name, norm) for name, norm in ATTACKS if Precision.BF16 in registry("attacks").load(name).precisions]
LOW = [(name, norm) for name, norm in LOW if norm is Norm.LINF]


@pytest.mark.parametrize(("name", "norm"), [case(*one) for one in LOW])
def test_a_search_in_bfloat16_keeps_the_ball(name, norm, device):
    out, _ = attacked(name, norm, device, Precision.BF16)
    clean = images(6).images
    assert out.dtype == torch.float32
    assert 0 <= out.min() <= out.max() <= 1
    assert bool((distance(out, clean, norm) <= float(RADIUS[norm]) + allowance(Budget(norm, RADIUS[norm]), 768)).all())


@pytest.mark.parametrize("name", ["autoattack", "transfer"])
def test_an_attack_halves_its_batch_where_memory_runs_out(name, device):
    whole, _ = attacked(name, Norm.LINF, device)
    BACKEND.most_rows = 4
    halved, told = attacked(name, Norm.LINF, device, rows=None)
    BACKEND.most_rows = None
    assert float((whole - halved).abs().max()) < 1e-5
    assert name != "autoattack" or (BACKEND.emptied and any(meter.halvings for meter in told.meters.values()))

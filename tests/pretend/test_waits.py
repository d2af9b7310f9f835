"""How often an attack makes a device wait for the host, per step: held to a budget, by file and line.

``pytest -s tests/pretend/test_waits.py`` prints the table.
"""

from __future__ import annotations

import warnings
from collections import Counter
from fractions import Fraction
from typing import Any

import pytest

from bench.attacks.presets import Mi
from bench.core.budget import Budget, Norm
from bench.core.nouns import Adversary, Batch
from bench.core.registry import registry
from tests.pretend.ledger import LEDGER
from tests.pretend.models import images, small_vit

# An attack that stops at fooled images looks for them every 8 steps on an accelerator.
LOOK = 1 / 8
PARTS = ("apgd-ce", "apgd-dlr", "apgd-t", "fab", "fab-t", "square")
# RayS asks at every query whether an image is done; the official package reads values as it likes.
BUDGET = {"autoattack": LOOK, "square": LOOK, "rays": 1.0, "autoattack-reference": None}
# Options that make each gradient cheap, where an attack has them.
FEW = {"samples": 1, "neighbours": 1, "flat": 1, "scales": 2, "targets": 1, "restarts": 1}
# Numbers of steps that are compared: one look apart, or two steps of which the last is like any other.
LOOKING, PLAIN = (9, 17), (2, 4)


def cases() -> list[tuple[str, Norm, dict[str, Any]]]:
    """Every registered attack in every norm, AutoAttack by its parts; published presets in one norm."""
    found: list[tuple[str, Norm, dict[str, Any]]] = []
    for name in registry("attacks").names():
        kind = registry("attacks").load(name)
        if BUDGET.get(name, 0.0) is None:
            continue
        defaults = {k: kind.model_fields[k].default for k in FEW if k in kind.model_fields}
        few = {k: FEW[k] if default is None else min(FEW[k], default) for k, default in defaults.items()}
        parts = [{"version": "custom", "attacks": [part]} for part in PARTS] if name == "autoattack" else [{}]
        norms = sorted(kind.norms)[-1:] if issubclass(kind, Mi) else sorted(kind.norms)
        found += [(name, norm, few | part) for norm in norms for part in parts]
    return found


def label(case: tuple[str, Norm, dict[str, Any]]) -> str:
    name, norm, options = case
    return "-".join([name, *options.get("attacks", []), str(norm)])


def steps_of(name: str, options: dict[str, Any], steps: int) -> dict[str, Any]:
    """The options with so many steps."""
    fields = registry("attacks").load(name).model_fields
    return options | {k: steps for k in ("steps", "iterations", "queries") if k in fields}


def waited(name: str, norm: Norm, options: dict[str, Any], device: str) -> tuple[Counter[Any], int, int]:
    """What the device waited for in one attack, the uploads and the operations."""
    batch = images(4).to(device)
    source = small_vit().to(device)
    attack = registry("attacks").make(name, options)
    # A radius at which no image is fooled, so that the steps are what differs.
    adversary = Adversary(source, Budget(norm, Fraction(1, 10**5)), seed=1)
    LEDGER.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        attack.perturb(adversary, Batch(batch.ids, batch.images, source(batch.images).argmax(1)))
    return LEDGER.waits.copy(), LEDGER.uploads.total(), LEDGER.launches


@pytest.mark.parametrize("case", cases(), ids=label)
def test_an_attack_waits_no_more_often_than_its_budget(case, device):
    name, norm, options = case
    allowed = BUDGET.get(name, 0.0)
    first, second = LOOKING if allowed == LOOK else PLAIN
    short = waited(name, norm, steps_of(name, options, first), device)
    long = waited(name, norm, steps_of(name, options, second), device)
    more = second - first
    rates = {at: (n - short[0][at]) / more for at, n in long[0].items() if n != short[0][at]}
    per_step, uploads, launches = sum(rates.values()), (long[1] - short[1]) / more, (long[2] - short[2]) / more
    print(f"{label(case):26} per step: {per_step:6.3f} waits {uploads:6.3f} uploads {launches:7.1f} operations; "
          f"in {first} steps: {short[0].total():3} waits")  # fmt: skip
    named = "; ".join(f"{what} at {place}: {rate:.3f}" for (what, place), rate in sorted(rates.items()))
    assert per_step <= allowed, f"{per_step:.3f} waits per step, {allowed} allowed: {named}"

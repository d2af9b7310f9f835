"""The named versions of AutoAttack and the settings of each attack in them (arXiv:2003.01690, section 6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.attacks.autoattack.apgd import Apgd
from bench.attacks.autoattack.apgd_dlr import ApgdDlr
from bench.attacks.autoattack.apgd_targeted import ApgdTargeted
from bench.attacks.autoattack.fab import Fab, FabTargeted
from bench.attacks.autoattack.square import Square
from bench.attacks.autoattack.square_l2 import SquareL2
from bench.attacks.autoattack.types import StepAttack
from bench.core.budget import Budget, Norm
from bench.core.errors import InputError

PartName = Literal["apgd-ce", "apgd-dlr", "apgd-t", "fab", "fab-t", "square"]
Version = Literal["standard", "plus", "rand", "custom"]

SEQUENCES: dict[str, tuple[str, ...]] = {
    "standard": ("apgd-ce", "apgd-t", "fab-t", "square"),
    "plus": ("apgd-ce", "apgd-dlr", "fab", "square", "apgd-t", "fab-t"),
    "rand": ("apgd-ce", "apgd-dlr"),
}


@dataclass(frozen=True)
class Lengths:
    """How long the attacks search.

    Attributes:
        iterations: Of APGD and FAB, per run.
        queries: Of Square.
        targets: Target classes of APGD-T and FAB-T.
        restarts: Of APGD and untargeted FAB.
        samples: Gradients averaged per step of APGD.
    """

    iterations: int = 100
    queries: int = 5000
    targets: int = 9
    restarts: int = 1
    samples: int = 1


# Restarts and gradient samples of the official versions.
LENGTHS: dict[str, dict[str, int]] = {"plus": {"restarts": 5}, "rand": {"samples": 20}}

_BUILDERS: dict[str, Callable[[Budget, Lengths], StepAttack]] = {
    "apgd-ce": lambda b, e: Apgd(b, e.iterations, e.restarts, e.samples),
    "apgd-dlr": lambda b, e: ApgdDlr(b, e.iterations, e.restarts, e.samples),
    "apgd-t": lambda b, e: ApgdTargeted(b, e.iterations, samples=e.samples, targets=e.targets),
    "fab": lambda b, e: Fab(b, e.iterations, e.restarts),
    "fab-t": lambda b, e: FabTargeted(b, e.iterations, targets=e.targets),
    "square": lambda b, e: Square(b, e.queries) if b.norm is Norm.LINF else SquareL2(b, e.queries),
}


def build(names: Sequence[str], budget: Budget, lengths: Lengths) -> list[StepAttack]:
    """The attacks of a sequence by name.

    Raises:
        InputError: if the norm is neither l-inf nor l2.
    """
    if budget.norm is Norm.L1:
        raise InputError("autoattack supports linf and l2; expected either, or --attack autoattack-reference for l1")
    return [_BUILDERS[name](budget, lengths) for name in names]

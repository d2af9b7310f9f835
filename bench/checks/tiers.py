"""The rules of the ladder, over plain data: tier of a run, worst case, first break, weak sources.

All readers of runs (records, ladders, tables, the leaderboard) use these rules, directly or through the record;
docs/threats.md describes them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING

from bench.checks.chance import one_sided
from bench.core.nouns import Access
from bench.core.plugins import Knowledge
from bench.core.tiers import TIERS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]  # of images (n,)
    Shares = NDArray[np.float64]  # of members, for images (n,)

TRANSFER = ("T0", "T1", "T1+")  # tiers with an adversary that never queries the target and has no device content
BROKEN_BELOW = 0.5  # share of the clean accuracy below which a defense is broken
WEAK = 0.5  # share of the target's correct images below which a source is too weak


@dataclass(frozen=True, eq=False)
class Met:
    """One run against a deployment.

    Attributes:
        tier: Tier of the run.
        adversary: A text that identifies threat and attack.
        robust: The robust images (n,).
    """

    tier: str
    adversary: str
    robust: Mask


@dataclass(frozen=True, eq=False)
class Faced:
    """One deployment and all runs against it, on the same images.

    Attributes:
        clean: Images that the target classifies correctly without attack (n,).
        runs: At least one.
    """

    clean: Mask
    runs: Sequence[Met]


@dataclass(frozen=True)
class Break:
    """The first tier that breaks a defense, and the share of images that remains up to it."""

    tier: str
    left: float


def on_target(*, source: str, target: str, access: Access) -> bool:
    """Whether an attack has the gradients of the deployed model itself; the digests of the two models decide."""
    return source == target and access is Access.GRADIENTS


def tier_of(
    declared: str, *, on_target: bool, keyed: bool, knows: Collection[str], access: Access, for_transfer: bool
) -> str:
    """The tier of a run, whatever the name of its threat.

    T5 if the attack has the gradients of the deployed model itself, or those of an unkeyed defense rebuilt from its
    mechanism, which is the same model, alone or as a member of an ensemble. T1 with an attack designed for transfer is
    T1+. Every other run has the tier that its threat declares.

    Args:
        declared: The threat's declared tier.
        on_target: See :func:`on_target`.
        keyed: Whether the defense has a key.
        knows: The threat's declared knowledge, values of :class:`Knowledge`.
        access: What the source returns.
        for_transfer: Whether the attack is designed for transfer.
    """
    asks = Knowledge.QUERIES in knows or access is not Access.GRADIENTS
    made_alike = not keyed and Knowledge.MECHANISM in knows and not asks
    if on_target or made_alike:
        return "T5"
    return "T1+" if declared == "T1" and for_transfer else declared


def place(tier: str) -> int:
    """Rank of a tier on the ladder, from 0; an unknown tier comes last."""
    return TIERS.index(tier) if tier in TIERS else len(TIERS)


def worst(masks: Iterable[Mask]) -> Mask:
    """The images that are robust in all of at least one run (n,)."""
    return reduce(and_, masks)


def best_single(masks: Sequence[Mask]) -> Mask:
    """The images that are robust in the strongest one of at least one run, the run with the fewest robust images (n,).

    It is the *best single attack*: an adversary without feedback chooses one attack for all images. :func:`worst` is
    the *worst case of k tries an image*, with k the number of runs; both are shown together.
    """
    return min(masks, key=lambda mask: int(mask.sum()))


def worst_expected(shares: Iterable[Shares]) -> Shares:
    """For models that draw one of several members: per image, the lowest expected accuracy of at least one run (n,).

    Its mean is the worst case of the expected accuracy of k tries an image. A member's share is the probability that a
    fresh draw is right, so no run counts the luck of its own draws.

    Args:
        shares: For each run, the share of members that are right on each image (n,), 0 where that is unknown.
    """
    import numpy as np  # noqa: PLC0415 (slow, and records do without)

    return reduce(np.minimum, shares)


def worst_up_to(runs: Sequence[Met]) -> dict[str, Mask]:
    """The per-image worst case up to each tier, the lowest tier first.

    Args:
        runs: Against one deployment, on the same images.

    Returns:
        For each tier with a run, the images that are robust in all runs of it and of the tiers below (n,).
    """
    tiers = sorted({run.tier for run in runs}, key=_order)
    return {tier: worst(run.robust for run in runs if _order(run.tier) <= _order(tier)) for tier in tiers}


def most_met(adversaries: Sequence[Collection[str]], left: Sequence[float]) -> list[int]:
    """Positions of the deployments that may be averaged: those with the same adversaries, and the most.

    If several groups have equally many, the larger group counts, then the one with the lower worst case.

    Args:
        adversaries: Adversaries of each deployment.
        left: For each deployment, the share of images in its worst case.
    """
    groups: dict[frozenset[str], list[int]] = {}
    for at, met in enumerate(adversaries):
        groups.setdefault(frozenset(met), []).append(at)

    def merit(met: frozenset[str]) -> tuple[int, int, float, list[str]]:
        return len(met), len(groups[met]), -_mean([left[at] for at in groups[met]]), sorted(met)

    return groups[max(groups, key=merit)] if groups else []


def first_break(deployments: Sequence[Faced], *, below: float = BROKEN_BELOW) -> Break | None:
    """The first tier up to which less than ``below`` of the clean accuracy remains; None if none breaks it.

    For each tier the mean is over the deployments that have, up to it, the same and the most adversaries.

    Args:
        deployments: Of one defense, on the same images.
        below: A share of the clean accuracy.
    """
    for tier in sorted({run.tier for faced in deployments for run in faced.runs}, key=_order):
        met = [faced for faced in deployments if any(run.tier == tier for run in faced.runs)]
        runs = [[run for run in faced.runs if _order(run.tier) <= _order(tier)] for faced in met]
        left = [float(worst(run.robust for run in own).mean()) for own in runs]
        chosen = most_met([{run.adversary for run in own} for own in runs], left)
        share = _mean([left[at] for at in chosen])
        if share < below * _mean([float(met[at].clean.mean()) for at in chosen]):
            return Break(tier, share)
    return None


def too_weak(*, target_right: int, target_alone: int, source_alone: int) -> bool:
    """Whether a source is too weak: it classifies less than half as many clean images correctly as the target.

    The difference must be significant (exact McNemar test, one-sided), so that a few images do not decide it.

    Args:
        target_right: Clean images that the target classifies correctly.
        target_alone: Those of them that the source misclassifies.
        source_alone: Clean images that only the source classifies correctly.
    """
    source_right = target_right - target_alone + source_alone
    return source_right < WEAK * target_right and one_sided(target_alone, source_alone)


def source_check(name: str) -> str:
    """Name of the battery's check of the source called ``name``."""
    return f"weak source ({name})"


def _order(tier: str) -> tuple[int, str]:
    return place(tier), tier


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)

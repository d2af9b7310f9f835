"""Why a record is not eligible for a leaderboard: a code for programs and a text for readers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from pydantic import Field

from bench.core.frozen import Frozen
from bench.core.nouns import Outcome


class Code(StrEnum):
    """The kinds of reasons; docs/record.md explains them."""

    ERROR_IMAGES = "error-images"  # the result of some images is unknown
    INVALID_CANDIDATES = "invalid-candidates"  # some candidates were out of budget, outside [0, 1] or not finite
    UNRELIABLE = "unreliable"  # a check of the audit failed; the text names it
    ESTIMATED = "estimated"  # the whole attack ran on a sample; listed, not ranked
    WEAK_SOURCE = "weak-source"  # the source says nothing about the target; still an upper bound


class Reason(Frozen):
    """One reason."""

    code: Code
    text: str = Field(description="for people")


_TEXTS = {
    Outcome.ERROR: (
        Code.ERROR_IMAGES,
        "{} images are ERROR (the attack raised, or the image cannot be read): nothing is known of them",
    ),
    Outcome.INVALID: (
        Code.INVALID_CANDIDATES,
        "{} candidates were out of budget, outside [0, 1] or not finite",
    ),
}


def reasons_of(
    outcomes: Mapping[Outcome, int],
    failed: Iterable[tuple[str, str]],
    *,
    source_check: str,
    weak: str | None,
    estimated: str | None = None,
) -> list[Reason]:
    """All reasons against a run; none for an eligible one.

    Args:
        outcomes: Number of images with each outcome.
        failed: Name and meaning of the failed checks of the audit.
        source_check: Name of the check of the source; if it fails, the source is weak.
        estimated: What a run with ``--estimate`` ran; None for a full run.
        weak: Description of a source that the verdicts show to be too weak; None for any other.
    """
    out = [
        Reason(code=code, text=text.format(outcomes[outcome]))
        for outcome, (code, text) in _TEXTS.items()
        if outcomes[outcome]
    ]
    if estimated:
        out.append(Reason(code=Code.ESTIMATED, text=f"{estimated}: a rank needs a full run"))
    for check, meaning in failed:
        code = Code.WEAK_SOURCE if check == source_check else Code.UNRELIABLE
        out.append(Reason(code=code, text=f"unreliable: {check}: {meaning}"))
    if weak and not any(reason.code is Code.WEAK_SOURCE for reason in out):
        out.append(Reason(code=Code.WEAK_SOURCE, text=f"weak source: {weak}"))
    return out


def only_estimated(reasons: Iterable[Reason]) -> bool:
    """Whether there is nothing wrong with a run but that it is an estimate, as was asked for."""
    return all(reason.code is Code.ESTIMATED for reason in reasons)

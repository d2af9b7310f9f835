"""Whether the judge gets the answers that the attack got, whatever the batch and whatever the process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from bench.store.record import Found

CHECK = "judge"
# Shares of images that single leaps of rounding (quantised activations) may reach: labels, logits, contradictions; and
# changes of labels that rounding explains, which are no basis for a figure if there are more.
_LABELS, _LOGITS, _ATTACKED, _DOUBTS = 0.02, 0.1, 0.005, 0.05


@dataclass
class Agreement:
    """Counts of images, over shards.

    Attributes:
        images: Candidates for which the attack's answer is known; the attack's source is the target.
        attack_only: Of those, how many fooled the model in the attack and not before the judge.
        judge_only: How many fooled it before the judge and not in the attack.
        doubtful: Contradictions within the rounding of the model's logits.
        again: Images asked again at another batch size, in another order, with a gradient, and here.
        labels: Of those, how many got another label.
        logits: How many got other logits.
        close: How many got another label, within the rounding of the model's logits.
        sizes: The batch sizes.
        random: Whether the model changes its answer to the same batch.
    """

    images: int = 0
    attack_only: int = 0
    judge_only: int = 0
    doubtful: int = 0
    again: int = 0
    labels: int = 0
    logits: int = 0
    close: int = 0
    sizes: list[int] = field(default_factory=list)
    random: bool = False

    def add(self, other: Agreement) -> None:
        """Add the counts of another shard."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))

    def about(self) -> dict[str, Any]:
        """The counts as JSON-like data."""
        return asdict(self)


def found_of_agreement(counts: Agreement, rows: int, audit: Sequence[Found]) -> Found:
    """The finding on a run: the first thing that is wrong, or what agrees.

    Args:
        counts: Of all shards.
        rows: Images per forward of the judge.
        audit: The other findings: a model that is known to be random is not compared.
    """
    known = {found.check for found in audit if found.check in ("repetition", "ensemble") and found.status != "pass"}
    if counts.random and known:
        return _found("skipped", None, "the model changes its answers by itself, so that they cannot be compared")
    sizes = ", ".join(map(str, sorted(set(counts.sizes))[:8])) + (", ..." if len(set(counts.sizes)) > 8 else "")
    share = (counts.attack_only + counts.judge_only) / counts.images if counts.images else counts.labels / counts.again
    if why := _against(counts, rows, sizes):
        return _found("fail", share, why)
    same = f"; the attack saw the same at {counts.images} candidates" if counts.images else ""
    return _found("pass", share, f"{counts.again} images asked again in other batches (of {sizes}), in another order "
                                 f"and for a gradient have the same answers{same}")  # fmt: skip


def judged_beside_the_attack() -> Found:
    """The finding on a run whose plug-in from outside was judged in the process of the attack."""
    why = "code from outside was judged in the process of the attack, where it can tell the two apart (--no-isolate)"
    return Found(check="isolation", status="fail", figure=None, meaning=why)


def _against(counts: Agreement, rows: int, sizes: str) -> str | None:
    """What is wrong, in one sentence."""
    images, again = counts.images, counts.again
    if counts.attack_only + counts.judge_only > _ATTACKED * images:
        both = [f"{counts.attack_only} of {images} images fooled the attack's model and not the judge's"]
        both += [f"{counts.judge_only} the judge's and not the attack's"] * bool(counts.judge_only)
        return f"the model answers the judge otherwise than the attack: {', '.join(both)}"
    if counts.random:
        return "the model changes its answer when the judge asks for the same batch twice"
    if counts.labels > _LABELS * again or counts.logits > _LOGITS * again:
        return (f"the model answers the judge (batches of {rows}) otherwise than other calls (batches of {sizes}, "
                f"another order, for a gradient): other logits at {counts.logits} of {again} images, another class at "
                f"{counts.labels}")  # fmt: skip
    if counts.doubtful > max(_DOUBTS * images, 3) or counts.close > max(2 * _DOUBTS * again, 3):
        return (f"rounding alone decides the class at {counts.doubtful} of {images} candidates, and at {counts.close} "
                f"of {again} images asked again: the figure does not rest on the model")  # fmt: skip
    return None


def _found(status: Any, figure: float | None, meaning: str) -> Found:
    return Found(check=CHECK, status=status, figure=figure, meaning=meaning)

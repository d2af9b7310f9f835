"""Ask a judged model again, in other ways, and compare with what the attack saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

from bench.engine.agreement import Agreement
from bench.engine.answering import Answering, AnsweringHere

if TYPE_CHECKING:
    from bench.core.nouns import Batch
    from bench.engine.judge import Judged

# Two answers to one image may differ by this share of the spread of its logits: several times what was seen of models
# in float32 (1e-6), and of models whose arithmetic is bfloat16 or half (5e-3), for other batches and recordings.
_FINE, _COARSE = 2e-3, 5e-2
_ROUNDED = 2e-4  # median difference that float32 does not reach
_LABELS_ONLY = 1e29  # margins beyond it are of attacks that saw labels only


@dataclass(frozen=True)
class Asking:
    """A model under comparison.

    Attributes:
        judge: As it answered the judge.
        here: The same model in this process, where the attack ran.
        rows: Images per forward of the judge.
        generator: For images and batch sizes.
    """

    judge: Answering
    here: AnsweringHere
    rows: int
    generator: Generator

    def size(self, most: int) -> int:
        """A batch size up to ``most``, other than the judge's."""
        drawn = int(torch.randint(1, max(most, 2), (1,), generator=self.generator))
        return drawn + (drawn >= self.rows)


def compare(
    judged: Judged, batch: Batch, candidates: Tensor, margins: Sequence[float | None] | None, asking: Asking
) -> Agreement:
    """What the verdicts of a shard and other answers of the model have in common.

    Args:
        judged: The verdicts' logits.
        batch: Clean images and labels.
        candidates: What was judged, (B, C, H, W).
        margins: What the attack saw at each candidate if its source is the target; None if it is another model.
        asking: Whom to ask.
    """
    out = Agreement()
    finite = candidates.flatten(1).isfinite().all(1).view(-1, 1, 1, 1)
    usable = torch.where(finite, candidates, batch.images)  # as the judge
    images, logits = torch.cat([batch.images, usable]), torch.cat([judged.clean, judged.adversarial])
    order = torch.randperm(len(images), generator=asking.generator)
    picked = order[: asking.rows + asking.rows // 2].to(images.device)
    tolerance = _ask_again(out, images[picked], logits[picked], asking)
    if margins is not None:
        seen = _completed(margins, usable, batch.labels, asking)
        _contradictions(out, seen, batch.labels, judged.adversarial, tolerance)
    return out


def difference(one: Tensor, other: Tensor) -> Tensor:
    """Largest difference of each image's logits (n, K) as a share of their spread, (n,); infinite if not finite."""
    if one.shape != other.shape:
        return torch.full_like(one[:, 0], torch.inf)
    apart = (_centred(one) - _centred(other)).abs().amax(1) / _spread(one)
    odd = ~one.isfinite().all(1), ~other.isfinite().all(1)
    apart = torch.where(odd[0] & odd[1], 0.0, apart)
    return torch.where(odd[0] ^ odd[1], torch.inf, apart)


def _ask_again(out: Agreement, images: Tensor, logits: Tensor, asking: Asking) -> float:
    """Ask for ``images`` at drawn batch sizes, once as for a gradient; returns the tolerance for this model."""
    judge, here = asking.judge, asking.here
    ways = [(judge, False), (here, True)] if judge is here else [(judge, False), (here, False), (here, True)]
    differences, changed = [], []
    for model, gradient in ways:
        size = asking.size(len(images))
        got = model.again(images, size, gradient=gradient)
        differences.append(
            difference(logits, got) if got.shape == logits.shape else torch.full_like(logits[:, 0], torch.inf)
        )
        changed.append(got.argmax(1) != logits.argmax(1))
        out.sizes.append(size)
    apart, other = torch.stack(differences), torch.stack(changed)
    tolerance = _tolerance(logits, apart)
    far = apart > tolerance
    if bool(far.any()):
        twice = [judge.again(images, asking.rows, gradient=False) for _ in range(2)]
        out.random = bool((difference(*twice) > tolerance).any())
    out.again += len(images)
    out.logits += int(far.any(0).sum())
    out.labels += int((far & other).any(0).sum())
    out.close += int((~far & other).any(0).sum())
    return tolerance


def _tolerance(logits: Tensor, apart: Tensor) -> float:
    """The share of the spread that the model's own rounding may change."""
    finite = logits[logits.isfinite()]
    low = torch.equal(finite.bfloat16().float(), finite) or torch.equal(finite.half().float(), finite)
    return _COARSE if low or float(apart.median()) > _ROUNDED else _FINE


def _completed(margins: Sequence[float | None], images: Tensor, labels: Tensor, asking: Asking) -> Tensor:
    """Margins (B,); where the attack did not report one, the model is asked as for a gradient."""
    seen = torch.tensor([torch.nan if margin is None else margin for margin in margins], device=labels.device)
    left = seen.isnan()
    if bool(left.any()):
        got = asking.here.again(images[left], asking.size(int(left.sum())), gradient=True)
        seen[left] = _lead(got, labels[left])
    return seen


def _contradictions(out: Agreement, seen: Tensor, labels: Tensor, logits: Tensor, tolerance: float) -> None:
    lead = _lead(logits, labels)
    in_attack, before_judge = seen > 0, (logits.argmax(1) != labels) | ~logits.isfinite().all(1)
    off = torch.where(seen.abs() < _LABELS_ONLY, seen - lead, lead).abs() / _spread(logits)
    doubt = off <= tolerance
    known = ~seen.isnan()
    out.images += int(known.sum())
    out.attack_only += int((known & in_attack & ~before_judge & ~doubt).sum())
    out.judge_only += int((known & ~in_attack & before_judge & ~doubt).sum())
    out.doubtful += int((known & (in_attack ^ before_judge) & doubt).sum())


def _lead(logits: Tensor, labels: Tensor) -> Tensor:
    """Largest wrong logit minus the correct one, (n,)."""
    own = logits.gather(1, labels[:, None]).squeeze(1)
    return logits.scatter(1, labels[:, None], -torch.inf).amax(1) - own


def _centred(logits: Tensor) -> Tensor:
    return logits - logits.median(1, keepdim=True).values


def _spread(logits: Tensor) -> Tensor:
    """The largest logit over the median one, (n,), not below that of most images: unused classes do not count."""
    own = _centred(logits).amax(1).nan_to_num(0.0, 0.0, 0.0)
    return own.maximum(own.median()).clamp_min(1e-9)

"""Further versions of the judged images: controls without an attack on the image, and the candidates in 8 bits.

They decide no verdict. docs/statistics.md says how they are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from bench.core.budget import Norm
from bench.core.eight_bits import eight_bits
from bench.core.nouns import Batch
from bench.core.seeds import seed_of
from bench.core.spec import Spec
from bench.engine.answering import predictions
from bench.engine.judge import measure
from bench.store.verdicts import NOTHING

OTHER, NOISE, QUANTIZED = "other_prediction", "noise_prediction", "quantized_prediction"  # columns of the verdicts


@dataclass(frozen=True)
class Further:
    """Further versions of a shard's images.

    Attributes:
        versions: Images (B, C, H, W) by column of the verdicts; the clean image where it does not count.
        counts: By column, whether each image counts (B).
        valid: Whether each image has a verdict on a candidate; all False if eps is 0.
    """

    versions: dict[str, Tensor] = field(default_factory=dict)
    counts: dict[str, list[bool]] = field(default_factory=dict)
    valid: list[bool] = field(default_factory=list)

    def columns(self, logits: Sequence[Tensor]) -> dict[str, list[int | None]]:
        """The predictions of each column from the ``logits`` (B, K) of each version; None where it does not count."""
        out: dict[str, list[int | None]] = {}
        for name, said in zip(self.versions, logits, strict=True):
            found = zip(predictions(said), self.counts[name], strict=True)
            out[name] = [(NOTHING if p is None else p) if counts else None for p, counts in found]
        return out


def further(spec: Spec, batch: Batch, x_adv: Tensor, failed: Sequence[bool]) -> Further:
    """The versions that a run asks for: none if eps is 0.

    The controls are for images with a valid candidate that differs from the clean image: each takes the perturbation of
    another one of them in the shard, in an order drawn from the seed, and noise as large as its own perturbation:
    random signs times its largest value (l-inf), or a Gaussian direction with its norm (l2, l1). Both are clipped to
    [0, 1]. A shard with one such image has no other.

    Args:
        spec: Budget, seed, and whether candidates are rounded.
        batch: Clean images.
        x_adv: Candidates, (B, C, H, W).
        failed: Images whose attack raised.
    """
    if spec.budget.eps == 0:
        return Further(valid=[False] * len(batch))
    measured = measure(batch, x_adv, spec.budget)
    valid = [ok and not bad for ok, bad in zip(measured.valid, failed, strict=True)]
    found = Further(valid=valid)
    far = measured.far.tolist()
    moved = [i for i, ok in enumerate(valid) if ok and far[i] > 0]
    if moved:
        found.versions[NOISE] = _noisy(spec, batch, {i: far[i] for i in moved})
    if len(moved) > 1:
        found.versions[OTHER] = _exchanged(spec, batch, x_adv, moved)
    if spec.quantize and any(valid):
        at = [i for i, ok in enumerate(valid) if ok]
        rounded = eight_bits(x_adv[at], batch.images[at], spec.budget)
        found.versions[QUANTIZED] = batch.images.index_copy(0, _index(at, x_adv), rounded)
    for name in found.versions:
        found.counts[name] = valid if name == QUANTIZED else [i in set(moved) for i in range(len(batch))]
    return found


def _exchanged(spec: Spec, batch: Batch, x_adv: Tensor, moved: list[int]) -> Tensor:
    """Each of the images ``moved`` with the perturbation of another one."""
    order = sorted(moved, key=lambda i: (seed_of(spec.seed, batch.ids[i], "another image"), i))
    own, other = _index(order, x_adv), _index([*order[1:], order[0]], x_adv)
    given = x_adv[other] - batch.images[other]
    return batch.images.index_copy(0, own, (batch.images[own] + given).clamp(0, 1))


def _noisy(spec: Spec, batch: Batch, far: dict[int, float]) -> Tensor:
    """Images with noise of the sizes ``far``, by position."""
    out = batch.images.clone()
    for i, size in far.items():
        stream = Generator().manual_seed(seed_of(spec.seed, batch.ids[i], "noise of the same size"))
        drawn = torch.randn(batch.images.shape[1:], generator=stream)
        if spec.budget.norm is Norm.LINF:
            drawn = torch.where(drawn < 0, -1.0, 1.0)
        else:
            drawn = drawn / torch.linalg.vector_norm(drawn, 2 if spec.budget.norm is Norm.L2 else 1)
        out[i] = (batch.images[i] + size * drawn.to(out)).clamp(0, 1)
    return out


def _index(positions: list[int], like: Tensor) -> Tensor:
    return torch.tensor(positions, device=like.device)

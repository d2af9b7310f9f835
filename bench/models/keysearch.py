"""Recover the order of a pixel shuffle from the weights trained behind it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from bench.core.blocks import Shuffle
from bench.core.nouns import Batch
from bench.core.progress import Progress, stage
from bench.models.classifier import Classifier
from bench.models.parts import first_convolution

_ROWS = 256  # images per batch


def search_order(
    leaked: Classifier,
    base: Classifier,
    block: int,
    batch: Batch,
    *,
    passes: int,
    seed: int,
    progress: Progress,
    enough: float = 1.0,
) -> Classifier:
    """The leaked network behind the order of a block's values under which it is most certainly correct.

    Fine-tuning moves column k of the first layer towards the original column of the pixel that it now receives, so the
    change of the weights reveals the order: the optimal assignment of columns to columns is the first guess.
    From there, in every pass over all pairs of positions, two entries are swapped, and a swap is kept if the
    cross-entropy on ``batch`` falls. The climb is for a failed assignment: otherwise it overfits the order to these
    images and moves away from the truth (digits, P = 4, key-full, 300 images: the assignment has 44 of 48 positions
    right up to equal channels, and AutoAttack through it leaves 1.0%; climbing until all of 128 images are right leaves
    2.7%, a whole pass 46%, although the clean accuracy is the same).

    Args:
        leaked: The network without a transform, fed with plain images.
        base: The model that it was fine-tuned from.
        block: P of the shuffle; divides the patch.
        batch: Labelled images, on the device.
        passes: Passes of the climb; 0 for the assignment alone.
        seed: Seed of the order in which pairs are tried.
        progress: Notified of each pair.
        enough: Share of correct images at which the climb ends, or does not start.

    Source: the climb from arXiv:2103.03525 (there with accuracy, from a random order).
    """
    order = assigned(leaked, base, block)
    leaked.transform = shuffle = Shuffle(block, order.tolist()).to(batch.images.device)
    pairs = torch.combinations(torch.arange(len(order)))
    best, wrong = _fit(leaked, batch)
    with stage(progress, "search the key", passes * len(pairs), "guess") as advance:
        for number in range(passes):
            generator = torch.Generator().manual_seed(seed + number)
            for i, j in pairs[torch.randperm(len(pairs), generator=generator)].tolist():
                if wrong <= (1 - enough) * len(batch):
                    break
                kept = shuffle.order
                shuffle.order = _exchanged(kept, i, j)
                loss, errors = _fit(leaked, batch)
                if loss < best:
                    best, wrong = loss, errors
                else:
                    shuffle.order = kept
                advance(1)
    leaked.transform = Shuffle(block, shuffle.order.tolist()).to(batch.images.device)
    return leaked


def assigned(leaked: Classifier, base: Classifier, block: int) -> Tensor:
    """The order (n,) indicated by the change of the first layer's columns, n = channels x P x P."""
    before, after = (_columns(first_convolution(m.network).weight.detach().cpu(), block) for m in (base, leaked))
    alike = F.normalize(after - before, dim=0).T @ F.normalize(before, dim=0)
    return torch.as_tensor(linear_sum_assignment(alike.numpy(), maximize=True)[1])


def _columns(weight: Tensor, block: int) -> Tensor:
    """Weights (D, C, p, p) by position within a block, (D * blocks, n), in the order (row, column, channel)."""
    d, c, height, width = weight.shape
    grid = weight.reshape(d, c, height // block, block, width // block, block)
    return grid.permute(0, 2, 4, 3, 5, 1).reshape(-1, block * block * c)


def _exchanged(order: Tensor, i: int, j: int) -> Tensor:
    out = order.clone()
    out[i], out[j] = order[j], order[i]
    return out


def _fit(model: Classifier, batch: Batch) -> tuple[float, int]:
    """Sum of the cross-entropy, and the number of misclassified images."""
    loss, wrong = 0.0, 0
    with torch.no_grad():
        for x, y in zip(batch.images.split(_ROWS), batch.labels.split(_ROWS), strict=True):
            logits: Tensor = model(x)
            loss += float(F.cross_entropy(logits, y, reduction="sum"))
            wrong += int((logits.argmax(1) != y).sum())
    return loss, wrong

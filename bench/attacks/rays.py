"""RayS: find the direction with the nearest boundary from labels only."""

from __future__ import annotations

import time

import torch
from pydantic import Field
from torch import Generator, Tensor

from bench.attacks.autoattack.batching import FLOOR, pad
from bench.attacks.rays_search import RaySearch, opened
from bench.core.ball import project
from bench.core.budget import Budget, Norm
from bench.core.cost import Calls, Meter, Passes
from bench.core.devices import Clock, on_host, uploaded
from bench.core.nouns import Access, Adversary, Batch
from bench.core.plugins import Attack
from bench.core.seeds import seed_of

# Default rows per batch, as for autoattack.
_SLOTS, _SLOTS_ELSEWHERE = 128, 1024


class Rays(Attack):
    """RayS (arXiv:2006.12792): a search over sign vectors from labels only; every query of an image is counted."""

    needs = Access.LABELS
    per_image = True
    norms = frozenset({Norm.LINF})

    queries: int = Field(10000, ge=1, description="maximum queries per image, including the clean image")

    def calls(self, classes: int, budget: Budget) -> Calls:
        """From misclassified clean images to images that survive to the last query."""
        return Calls(Passes(1), Passes(self.queries))

    def perturb(self, adversary: Adversary, batch: Batch) -> Tensor:
        """Return the nearest point found, moved into the ball if outside; misclassified images stay clean.

        An image is done when its point is within eps or when its queries are spent. Images in different phases share a
        batch, one query each. Only the largest entry of each row of the source's answer is used.

        Source: Chen and Gu, KDD 2020, arXiv:2006.12792, algorithms 2 and 3, with start, blocks and tolerance of
        github.com/uclaml/RayS. That code starts every level at its first block, and repeatedly flips single values when
        none helps. Here an image starts at a random block, restarts from the whole image with shifted blocks when no
        single value helps, and a point found before the queries run out in a bisection counts.
        """
        began = time.perf_counter()
        meter, clock = adversary.meters.setdefault("rays", Meter()), Clock()
        limit = self.queries if adversary.queries is None else min(self.queries, adversary.queries)
        slots = adversary.batch_size or (_SLOTS if on_host(batch.images.device) else _SLOTS_ELSEWHERE)
        out = batch.images.clone()
        search, taken = self._opened(adversary, batch, 0, slots), slots
        while len(search) and limit > 0:
            search.answered(_labels(adversary, search, batch.images.shape[1:], meter, clock) != search.label)
            done = (search.radius <= adversary.budget.radius) | (search.asked >= limit) | search.over
            if bool(done.any()):
                _hand_back(search.kept(done), batch, adversary, out, meter)
                search = search.kept(~done)
                room = slots - len(search)
                search, taken = search.joined(self._opened(adversary, batch, taken, room)), taken + room
        meter.model_seconds += clock.settle()
        meter.seconds += time.perf_counter() - began
        return out

    def _opened(self, adversary: Adversary, batch: Batch, start: int, count: int) -> RaySearch:
        """The images from ``start`` on, as many as remain."""
        here, places = batch.images.device, slice(start, start + count)
        seeds = [seed_of(adversary.seed, image_id, "rays", 0) for image_id in batch.ids[places]]
        drawn = torch.tensor([float(torch.rand((), generator=Generator().manual_seed(seed))) for seed in seeds])
        clean = batch.images[places].flatten(1)
        rows = torch.arange(len(batch), device=here)[places]
        return opened(rows, clean, batch.labels[places], uploaded(drawn, here).to(clean.dtype))


def _labels(adversary: Adversary, search: RaySearch, shape: torch.Size, meter: Meter, clock: Clock) -> Tensor:
    """The source's labels (m,) at the queried points; rows that pad the batch repeat the first one."""
    points = search.points().unflatten(1, shape)
    padded = pad(points, -(-len(points) // FLOOR) * FLOOR)
    began = clock.start(padded.device)
    with torch.no_grad():
        labels = adversary.source(padded).argmax(1)[: len(points)]
    clock.stop(padded.device, began)
    meter.forwards += len(points)
    meter.padding += len(padded) - len(points)
    return labels


def _hand_back(done: RaySearch, batch: Batch, adversary: Adversary, out: Tensor, meter: Meter) -> None:
    """Write the candidates of finished images to ``out`` (B, C, H, W), and which of them fooled the source."""
    budget = adversary.budget
    near = done.radius <= budget.radius
    adversary.margins.update({batch.ids[row]: float("inf") for row in done.row[near].tolist()})
    found = done.found().view(-1, *out.shape[1:])
    inside = project(found, batch.images[done.row], budget)
    out[done.row] = torch.where(near.view(-1, 1, 1, 1), found, inside)
    meter.fooled += int((near & (done.radius > 0)).sum())

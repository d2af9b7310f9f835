"""Square Attack under l-inf: random windows of colour, kept where the margin falls (arXiv:1912.00049)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from bench.attacks.autoattack.geometry import chosen
from bench.attacks.autoattack.losses import margin
from bench.attacks.autoattack.oracle import Oracle
from bench.attacks.autoattack.types import Newcomers, Probe, State
from bench.core.budget import Budget
from bench.core.cost import Passes
from bench.core.devices import on_host, uploaded

# Number of points from which a larger batch is hardly faster (small ViT, two threads, us per image: 60 with 8, 55
# with 32, 50 with 64).
_FULL = 32
# arXiv:1912.00049, section 4: share of pixels in the first window, and the queries after which it is halved.
_SHARE = 0.8
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


@dataclass(frozen=True)
class Square:
    """Square Attack under l-inf.

    All random numbers of a run are drawn at its start (28 bytes per query for three channels), in the order of the
    official code, and converted to windows and signs; a step only looks its query up.

    Attributes:
        budget: The ball.
        queries: Windows tried after the start.
    """

    budget: Budget
    queries: int = 5000
    name: str = "square"

    @property
    def steps(self) -> int:
        """The number of queries plus one, because the start is evaluated too."""
        return self.queries + 1

    def runs(self, classes: int) -> int:
        """No restarts."""
        return 1

    def passes(self, classes: int) -> Passes:
        """One forward per window; windows that a small batch evaluates ahead and discards are extra."""
        return Passes(1)

    def begin(self, newcomers: Newcomers) -> State:
        """Start from vertical stripes at the radius; no window yet."""
        x, eps = newcomers.images, self.budget.radius
        _, channels, height, width = x.shape
        sizes = window_sizes(self.queries, height, width, 1, False, torch.device("cpu"))
        stripes, corners, signs = [], [], []
        for stream in newcomers.streams:
            stripes.append(coin(torch.rand((channels, 1, width), generator=stream)))
            draws = torch.rand((self.queries, 2 + channels), generator=stream)
            corners.append(place(draws[:, :2], sizes, height, width))
            signs.append(coin(draws[:, 2:]).to(torch.int8))
        low, high = (x - eps).clamp(0, 1), (x + eps).clamp(0, 1)
        start = (x + eps * uploaded(torch.stack(stripes), x.device)).clamp(0, 1)
        return opening(start, newcomers.labels) | {
            "low": low,
            "high": high,
            "corner": uploaded(torch.stack(corners), x.device),
            "sign": uploaded(torch.stack(signs), x.device),
        }

    def step(self, state: State, oracle: Oracle) -> tuple[State, Probe]:
        """Evaluate the next window and keep it if the margin falls.

        A small batch tries several windows of each image at once. They are valid as long as the ones before them are
        rejected, as most are, so the first one that is kept ends the step and the result equals one at a time.
        """
        tries = max(1, min(_FULL, oracle.room) // len(state["label"]))
        points = self._propose(state, tries)
        if not on_host(points.device):  # on the CPU such rows have left
            points = _without_done(points, state["margin"] <= 0)
        logits = oracle.logits(points.flatten(0, 1), tries).unflatten(0, points.shape[:2])
        return self._keep_first_better(state, points, logits)

    def _keep_first_better(self, state: State, points: Tensor, logits: Tensor) -> tuple[State, Probe]:
        """Accept the first point whose margin falls or that is misclassified; a margin of 0 or less ends the image."""
        tries, rows = points.shape[:2]
        order, row = torch.arange(tries, device=points.device)[:, None], torch.arange(rows, device=points.device)
        value = margin(logits.flatten(0, 1), state["label"].repeat(tries)).unflatten(0, (tries, rows))
        left = self.steps - state["age"]
        better = ((value < state["margin"]) | (value <= 0)) & (order < left) & (state["margin"] > 0)
        found = better.any(0)
        first = torch.where(better, order, tries - 1).amin(0)
        point, logits, value = points[first, row], logits[first, row], value[first, row]
        age = state["age"] + torch.minimum(first + 1, left)
        lowest = torch.where(found, value, state["margin"])
        after = state | {"age": age, "point": chosen(found, point, state["point"]), "margin": lowest}
        return after, Probe(point, logits, eligible=found, over=(lowest <= 0) | (age >= self.steps))

    def _propose(self, state: State, tries: int) -> Tensor:
        """The next points of each row, (tries, S, C, H, W)."""
        best = state["point"]
        rows, query, start = coming(state, tries, self.queries)
        height, width = best.shape[2:]
        sizes = window_sizes(self.queries, height, width, 1, False, best.device)
        size, corner = torch.where(start, 0, sizes[query]), state["corner"][rows, query].long()
        tall, wide = inside(corner[..., 0], size, height), inside(corner[..., 1], size, width)
        sign = state["sign"][rows, query].to(best.dtype) * (2.0 * self.budget.radius)
        colour = sign[..., None, None] * tall[:, :, None, :, None]
        return torch.addcmul(best, colour, wide[:, :, None, None, :]).clamp_(state["low"], state["high"])


@cache
def window_sizes(queries: int, height: int, width: int, least: int, odd: bool, device: torch.device) -> Tensor:
    """Side of the window of each query (queries,), int64; the schedule is that of 10,000 queries, not rescaled."""
    sides = []
    for query in range(queries):
        share = _SHARE / 2 ** sum(query > bound for bound in _HALVINGS)
        side = max(round(math.sqrt(share * height * width)), least)
        sides.append(min(side + 1 if odd and side % 2 == 0 else side, height, width))
    return torch.tensor(sides, device=device)


def place(draws: Tensor, sizes: Tensor, height: int, width: int) -> Tensor:
    """Upper left corners (queries, 2) from uniform draws (queries, 2)."""
    room = torch.stack([height - sizes, width - sizes], dim=1)
    return (draws * room).to(torch.int16)


def opening(start: Tensor, labels: Tensor) -> State:
    """The state that both norms keep: the best point, its margin, the number of evaluations."""
    return {
        "label": labels.clone(),
        "point": start,
        "margin": start.new_full((len(start),), float("inf")),
        "age": labels.new_zeros(len(start)),
    }


def _without_done(points: Tensor, done: Tensor) -> Tensor:
    """Points (tries, S, C, H, W) whose rows that are ``done`` (S,) repeat one that is not: nothing is asked of them."""
    other = points.index_select(1, done.int().argmin().view(1))
    return torch.where(done.view(1, -1, 1, 1, 1), other, points)


def coming(state: State, tries: int, queries: int) -> tuple[Tensor, Tensor, Tensor]:
    """Row numbers (S,), the next queries of each row (tries, S), and which rows have yet to evaluate their start.

    Finished rows stay at the last query.
    """
    age = state["age"]
    ahead = age + torch.arange(tries, device=age.device)[:, None]
    return torch.arange(len(age), device=age.device), (ahead - 1).clamp(0, queries - 1), ahead == 0


def inside(start: Tensor, size: Tensor, length: int) -> Tensor:
    """Which of ``length`` rows or columns the windows cover, (..., length) as 0.0 and 1.0."""
    offset = torch.arange(length, device=start.device) - start[..., None]
    return ((offset >= 0) & (offset < size[..., None])).float()


def coin(draws: Tensor) -> Tensor:
    """Signs -1 and 1 from uniform draws in [0, 1)."""
    return (2 * draws - 1).sign()

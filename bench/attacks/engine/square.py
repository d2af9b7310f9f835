"""Square Attack under l-inf: random windows of colour, kept where the margin falls (arXiv:1912.00049)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from bench.attacks.engine.geometry import chosen
from bench.attacks.engine.losses import margin
from bench.attacks.engine.oracle import Oracle
from bench.attacks.engine.types import Newcomers, Probe, State
from bench.core.budget import Budget

# arXiv:1912.00049, section 4: share of pixels in the first window, and the queries after which it is halved.
_SHARE = 0.8
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


@dataclass(frozen=True)
class Square:
    """Square Attack under l-inf.

    All random numbers of a run are drawn when it begins (28 bytes per query for three channels), in the order in which
    the official code draws them, and turned into windows and signs; a step only looks its query up.

    Attributes:
        budget: The ball.
        queries: Windows tried after the start.
    """

    budget: Budget
    queries: int = 5000
    name: str = "square"

    @property
    def steps(self) -> int:
        """The start is evaluated too."""
        return self.queries + 1

    def runs(self, classes: int) -> int:
        """No restarts."""
        return 1

    def begin(self, newcomers: Newcomers) -> State:
        """Vertical stripes at the radius; no window yet."""
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
        start = (x + eps * torch.stack(stripes).to(x.device)).clamp(0, 1)
        return opening(start, newcomers.labels) | {
            "low": low,
            "high": high,
            "corner": torch.stack(corners).to(x.device),
            "sign": torch.stack(signs).to(x.device),
        }

    def step(self, state: State, oracle: Oracle) -> tuple[State, Probe]:
        """Evaluate the query's window and keep it where the margin falls."""
        point = self._propose(state)
        logits = oracle.logits(point)
        return keep_better(state, point, logits)

    def _propose(self, state: State) -> Tensor:
        best = state["point"]
        rows, query = current_query(state, self.queries)
        height, width = best.shape[2:]
        sizes = window_sizes(self.queries, height, width, 1, False, best.device)
        size, corner = torch.where(state["age"] > 0, sizes[query], 0), state["corner"][rows, query].long()
        tall, wide = inside(corner[:, 0], size, height), inside(corner[:, 1], size, width)
        sign = state["sign"][rows, query].to(best.dtype) * (2.0 * self.budget.radius)
        colour = sign[:, :, None, None] * tall[:, None, :, None]
        return torch.addcmul(best, colour, wide[:, None, None, :]).clamp_(state["low"], state["high"])


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
    """What both norms remember: the best point, its margin, the number of evaluations."""
    return {
        "label": labels.clone(),
        "point": start,
        "margin": start.new_full((len(start),), float("inf")),
        "age": labels.new_zeros(len(start)),
    }


def current_query(state: State, queries: int) -> tuple[Tensor, Tensor]:
    """Row numbers (S,) and each row's query (S,), to index tables by; rows that are done stay at the last one."""
    age = state["age"]
    return torch.arange(len(age), device=age.device), (age - 1).clamp(0, queries - 1)


def inside(start: Tensor, size: Tensor, length: int) -> Tensor:
    """Which of ``length`` rows or columns the windows cover, (S, length) as 0.0 and 1.0."""
    offset = torch.arange(length, device=start.device) - start[:, None]
    return ((offset >= 0) & (offset < size[:, None])).float()


def keep_better(state: State, point: Tensor, logits: Tensor) -> tuple[State, Probe]:
    """Accept the points whose margin fell or that are misclassified; a margin of 0 or less ends the image."""
    value = margin(logits, state["label"])
    better = (value < state["margin"]) | (value <= 0)
    after = state | {
        "age": state["age"] + 1,
        "point": chosen(better, point, state["point"]),
        "margin": torch.where(better, value, state["margin"]),
    }
    return after, Probe(point, logits, over=after["margin"] <= 0)


def coin(draws: Tensor) -> Tensor:
    """Signs -1 and 1 from uniform draws in [0, 1)."""
    return (2 * draws - 1).sign()

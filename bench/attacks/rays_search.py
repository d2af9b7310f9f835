"""The search of RayS for a batch of images, each in its own phase, with one query each at a time."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

# Phases of an image: is the clean image right? does the flipped block bring the boundary nearer? how near is it?
_LOOK, _CHECK, _BISECT = 0, 1, 2
# End of the bisection: 1e-3 along the unit l2 vector of the signs, in the authors' code.
_TOLERANCE = 1e-3
# Shift of the blocks per further round, as a share of the image: the golden ratio spreads the rounds evenly.
_GOLDEN = 0.618
# A radius that reaches every corner of the box from every image in it.
_WHOLE = 1.0


@dataclass
class RaySearch:
    """Images of n values under search, m rows.

    Attributes:
        row: (m,) position of the image in the caller's batch.
        clean: (m, n) images, flat.
        label: (m,) true classes.
        offset: (m,) in [0, 1): the block of each level at which the image starts.
        sign: (m, n) direction of the nearest point found so far, -1 and 1.
        trial: (m, n) direction that is being tried.
        radius: (m,) distance of the nearest point found along ``sign``; infinite before the first.
        low: (m,) radius along ``trial`` at which the label is right, during bisection.
        high: (m,) radius along ``trial`` at which it is wrong, during bisection.
        phase: (m,) purpose of the next query.
        level: (m,) a level has 2**level blocks, or n.
        block: (m,) number of the block in the order of the image.
        idle: (m,) single values flipped since the radius last fell.
        shift: (m,) number of values by which the blocks are shifted; 0 in the first round.
        asked: (m,) queries spent.
        over: (m,) misclassified clean, so that no search is needed.
    """

    row: Tensor
    clean: Tensor
    label: Tensor
    offset: Tensor
    sign: Tensor
    trial: Tensor
    radius: Tensor
    low: Tensor
    high: Tensor
    phase: Tensor
    level: Tensor
    block: Tensor
    idle: Tensor
    shift: Tensor
    asked: Tensor
    over: Tensor

    def __len__(self) -> int:
        return len(self.row)

    def joined(self, other: RaySearch) -> RaySearch:
        """Concatenate the rows of both."""
        return RaySearch(*(torch.cat([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)))

    def kept(self, mask: Tensor) -> RaySearch:
        """Select the rows where ``mask`` (m,) is true."""
        return RaySearch(*(getattr(self, f.name)[mask] for f in fields(self)))

    def points(self) -> Tensor:
        """The next query of each row, (m, n) in [0, 1]."""
        asked = torch.where(self.phase == _BISECT, (self.low + self.high) / 2, self.radius.clamp(max=_WHOLE))
        return self._at(torch.where(self.phase == _LOOK, 0.0, asked), self.trial)

    def found(self) -> Tensor:
        """The nearest misclassified point of each row, (m, n); a distant point in the box if there is none yet."""
        return self._at(self.radius.clamp(max=_WHOLE), self.sign)

    def answered(self, wrong: Tensor) -> None:
        """Advance with the answers to :meth:`points`: whether each row's label was ``wrong`` (m,)."""
        look, check, bisect = (self.phase == phase for phase in (_LOOK, _CHECK, _BISECT))
        self.asked = self.asked + 1
        middle = torch.where(bisect, (self.low + self.high) / 2, self.radius.clamp(max=_WHOLE))
        self.over = self.over | (look & wrong)
        self.radius = torch.where(look & wrong, 0.0, self.radius)
        better = wrong & ~look & (middle < self.radius)
        self.radius = torch.where(better, middle, self.radius)
        self.sign = torch.where(better[:, None], self.trial, self.sign)
        self.idle = torch.where(better, -1, self.idle)
        self.low = torch.where(bisect, torch.where(wrong, self.low, middle), 0.0)
        self.high = torch.where(wrong, middle, self.high)
        narrow = self.high - self.low <= _TOLERANCE / self.clean.shape[1] ** 0.5
        self._next_block((look & ~wrong) | (check & ~wrong) | (bisect & narrow), first=look)
        self.phase = torch.where(check & wrong, _BISECT, self.phase)

    def _next_block(self, rows: Tensor, first: Tensor) -> None:
        """Advance ``rows`` (m,) to their next block; rows that evaluate their ``first`` block stay there."""
        n = self.clean.shape[1]
        on = rows & ~first
        size, count = self._blocks()
        self.idle = torch.where(on & (size == 1), self.idle + 1, self.idle)
        stuck = on & (self.idle >= n)
        last = on & (self.block + 1 >= count)
        self.block = torch.where(last, 0, self.block + on.long())
        finer = last & (size > 1)
        self.level = self.level + finer.long()
        self.idle = torch.where(finer | stuck, 0, self.idle)
        self._another_round(stuck)
        size, count = self._blocks()
        begin = ((self.block + (self.offset * count).long()) % count) * size
        at = (torch.arange(n, device=begin.device) - self.shift[:, None]) % n
        flip = (at >= begin[:, None]) & (at < (begin + size)[:, None])
        self.trial = torch.where(rows[:, None], torch.where(flip, -self.sign, self.sign), self.trial)
        self.phase = torch.where(rows, _CHECK, self.phase)

    def _another_round(self, stuck: Tensor) -> None:
        """Restart from the whole image with shifted blocks, for rows where no flip of a single value helps."""
        moved = (self.offset + _GOLDEN) % 1
        self.offset = torch.where(stuck, moved, self.offset)
        self.shift = torch.where(stuck, (moved * self.clean.shape[1]).long(), self.shift)
        self.level, self.block = torch.where(stuck, 0, self.level), torch.where(stuck, 0, self.block)

    def _blocks(self) -> tuple[Tensor, Tensor]:
        """Number of values in a block of each row's level, and of blocks that cover the image, (m,) each."""
        n = self.clean.shape[1]
        size = -(-n // 2**self.level)
        return size, -(-n // size)

    def _at(self, radius: Tensor, direction: Tensor) -> Tensor:
        return (self.clean + radius[:, None] * direction).clamp(0, 1)


def opened(row: Tensor, clean: Tensor, label: Tensor, offset: Tensor) -> RaySearch:
    """New images: every sign is 1, as in the authors' code."""
    count = torch.zeros_like(label)
    ones, none = torch.ones_like(clean), clean.new_zeros(len(clean))
    return RaySearch(
        row=row,
        clean=clean,
        label=label,
        offset=offset,
        sign=ones,
        trial=ones,
        radius=torch.full_like(none, torch.inf),
        low=none,
        high=none,
        phase=count,
        level=count,
        block=count,
        idle=count,
        shift=count,
        asked=count,
        over=count.bool(),
    )

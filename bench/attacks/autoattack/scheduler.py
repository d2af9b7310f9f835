"""Continuous batching: a fixed number of slots, each with the state of one image, kept as full as the queue allows.

The scheduler is independent of the attack: it seats images, steps all rows at once, and releases an image when it is
fooled, when its attack has nothing left to try, or when its last run has ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

from bench.attacks.autoattack.batching import BatchShapes, attempt
from bench.attacks.autoattack.keeper import Keep, noted, opened
from bench.attacks.autoattack.oracle import Oracle
from bench.attacks.autoattack.queue import Queue, Seat
from bench.attacks.autoattack.types import Finished, Newcomers, State, StepAttack
from bench.core.devices import uploaded

_KEEPER = "keeper."
# What is read of the keeper's rows, all at once.
_TOLD = ("fooled", "over", "score", "margin")


@dataclass
class Scheduler:
    """Runs one attack on a queue of images, which other schedulers may share.

    Attributes:
        attack: Steps the rows.
        oracle: The model.
        shapes: Batch shapes.
        keep: ``first`` releases an image as soon as it is fooled; ``last`` and ``best`` finish the run first.
        period: Steps between checks for fooled images; more than 1 reduces synchronisation on an accelerator.
        ahead: See :class:`bench.attacks.autoattack.conduct.Conduct`.
    """

    attack: StepAttack
    oracle: Oracle
    shapes: BatchShapes
    keep: Keep = "first"
    period: int = 1
    ahead: bool = True
    _state: State = field(default_factory=dict)
    _seats: list[Seat | None] = field(default_factory=list)
    _ticks: int = 0
    _last: tuple[list[int], torch.Tensor] | None = None

    def run(self, queue: Queue) -> Iterator[Finished]:
        """Attack images from ``queue`` until it is exhausted; results are emitted in order of completion."""
        while True:
            newcomers = queue.take(self._live(), self.shapes.slots)
            if not newcomers and not self._live():
                return
            self._seat(newcomers)
            self._tick(queue)
            yield from self._harvest()
            surplus = queue.surplus(self._live())
            if surplus:
                queue.give_back(self._park(self._live() - surplus))

    def _live(self) -> int:
        return sum(seat is not None for seat in self._seats)

    def _seat(self, newcomers: list[Seat]) -> None:
        """Fit the shape to the number of images and seat new arrivals: start new images, resume parked ones."""
        self._reshape(self.shapes.shape(self._live() + len(newcomers)))
        free = [row for row, seat in enumerate(self._seats) if seat is None]
        fresh: list[int] = []
        for row, seat in zip(free, newcomers, strict=False):
            self._seats[row] = seat
            if seat.parked is None:
                fresh.append(row)
            else:
                self._write([row], seat.parked)
                seat.parked = None
        if fresh:
            self._begin(fresh)
        self._prepare()

    def _prepare(self) -> None:
        """Tell the oracle what counts; if speculation is off, rows without an image repeat another row."""
        self.oracle.live, self.oracle.room = self._live(), self.shapes.top if self.ahead else 1
        empty = [row for row, seat in enumerate(self._seats) if seat is None]
        if empty and not self.ahead and self._live():
            first, index = next(row for row, seat in enumerate(self._seats) if seat), self._index(empty)
            for value in self._state.values():
                value[index] = value[first : first + 1].clone()

    def _begin(self, rows: list[int]) -> None:
        """Start each row's current run."""
        seats = [seat for row in rows if (seat := self._seats[row])]
        images = torch.stack([seat.guest.image for seat in seats])
        labels = uploaded(torch.tensor([seat.guest.label for seat in seats]), images.device)
        logits = uploaded(torch.stack([seat.guest.logits for seat in seats]), images.device)
        runs, streams = [seat.run for seat in seats], [seat.stream for seat in seats]
        state = self.attack.begin(Newcomers(images, labels, logits, runs, streams))
        fresh = {_KEEPER + name: value for name, value in opened(images).items()}
        if any(runs) and self._state:  # candidates of unfooled images outlive the run
            old = {name: self._state[name][self._index(rows)] for name in fresh}
            again = uploaded(torch.tensor([run > 0 for run in runs]), images.device)
            for name in (_KEEPER + "candidate", _KEEPER + "score", _KEEPER + "margin"):
                mask = again.view(-1, *[1] * (fresh[name].dim() - 1))
                fresh[name] = torch.where(mask, old[name], fresh[name])
        self._write(rows, state | fresh)

    def _write(self, rows: list[int], values: State) -> None:
        if not self._state:
            count = len(self._seats)
            self._state = {k: v[:1].expand(count, *v.shape[1:]).clone() for k, v in values.items()}
        index = self._index(rows)
        for name, value in values.items():
            self._state[name][index] = value

    def _index(self, rows: list[int]) -> torch.Tensor:
        """The rows as an index on the device; the last one is kept, since empty rows are often the same."""
        if self._last is None or self._last[0] != rows:
            self._last = list(rows), uploaded(torch.tensor(rows), self._state["label"].device)
        return self._last[1]

    def _park(self, most: int) -> list[Seat]:
        """Clear all but ``most`` rows and return their images with their states."""
        rows = [row for row, seat in enumerate(self._seats) if seat][most:]
        parked = []
        for row in rows:
            seat = self._seats[row]
            if seat:
                seat.parked = {name: value[row : row + 1].clone() for name, value in self._state.items()}
                parked.append(seat)
                self._seats[row] = None
        return parked

    def _reshape(self, shape: int) -> None:
        """Move the live rows into a batch of ``shape`` rows that holds them."""
        if shape == len(self._seats):
            return
        rows = [row for row, seat in enumerate(self._seats) if seat]
        self._seats = [self._seats[row] for row in rows] + [None] * (shape - len(rows))
        self._state = self._taken(rows + rows[:1] * (shape - len(rows))) if rows else {}

    def _taken(self, rows: list[int]) -> State:
        index = self._index(rows)
        return {name: value[index] for name, value in self._state.items()}

    def _tick(self, queue: Queue) -> None:
        """Step all rows; if memory runs out, return half of them to the queue and retry."""
        while True:
            stepped = attempt(self._stepped)
            if stepped is not None:
                break
            self.oracle.forget()
            self.shapes.halve(self._state["label"].device)
            self.oracle.meter.halvings += 1
            queue.give_back(self._park(self.shapes.slots))
            self._reshape(self.shapes.shape(self._live()))
            self._prepare()
        self._state = stepped
        self._ticks += 1
        for seat in self._seats:
            if seat:
                seat.age += 1

    def _stepped(self) -> State:
        own = {name: value for name, value in self._state.items() if not name.startswith(_KEEPER)}
        kept = {name.removeprefix(_KEEPER): v for name, v in self._state.items() if name.startswith(_KEEPER)}
        own, probe = self.attack.step(own, self.oracle)
        kept = noted(self.keep, kept, probe, own["label"])
        return own | {_KEEPER + name: value for name, value in kept.items()}

    def _harvest(self) -> list[Finished]:
        """Release images that are fooled or finished, and start the next run of the others."""
        due = [seat is not None and seat.age >= self.attack.steps for seat in self._seats]
        if self._ticks % self.period and not any(due):
            return []
        told = torch.stack([self._state[_KEEPER + name].float() for name in _TOLD]).tolist()
        results, again = [], []
        for row, seat in enumerate(self._seats):
            fooled, over = bool(told[0][row]), bool(told[1][row])
            if seat is None or not (due[row] or over or (fooled and self.keep == "first")):
                continue
            if not fooled and seat.run + 1 < self.attack.runs(len(seat.guest.logits)):
                seat.run, seat.age = seat.run + 1, 0
                again.append(row)
                continue
            results.append(self._finished(row, seat, fooled, told[2][row], told[3][row]))
            self._seats[row] = None
        if again:
            self._begin(again)
        return results

    def _finished(self, row: int, seat: Seat, fooled: bool, score: float, margin: float) -> Finished:
        if not fooled and self.keep != "best":
            return Finished(seat.guest, False)
        candidate = self._state[_KEEPER + "candidate"][row].clone()
        return Finished(seat.guest, fooled, candidate, score if self.keep == "best" else 0.0, margin)

"""Continuous batching: a fixed number of slots, each with the state of one image, always as full as the queue allows.

Knows nothing of any attack: it seats images, steps all rows at once, and lets an image go when it is fooled, when its
attack has nothing left to try, or when its last run has ended.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

from bench.attacks.engine.batching import Ladder, attempt
from bench.attacks.engine.keeper import Keep, noted, opened
from bench.attacks.engine.oracle import Oracle
from bench.attacks.engine.types import Finished, Guest, Newcomers, Seeds, State, StepAttack

_KEEPER = "keeper."


@dataclass
class _Seat:
    """What the host knows of one image in a slot."""

    guest: Guest
    stream: torch.Generator
    run: int = 0
    age: int = 0
    parked: State | None = None  # the row's state while the image waits for a slot after a halving


@dataclass
class Scheduler:
    """One attack over a stream of images.

    Attributes:
        attack: What steps the rows.
        oracle: The model.
        ladder: Batch shapes.
        seeds: Seed of an image's stream; a run of an attack goes on where the last one left the stream.
        keep: ``first`` lets an image go the moment it is fooled; ``last`` and ``best`` end the run first.
        period: Steps between looks at who is fooled; more than 1 spares an accelerator the waiting.
    """

    attack: StepAttack
    oracle: Oracle
    ladder: Ladder
    seeds: Seeds
    keep: Keep = "first"
    period: int = 1
    _state: State = field(default_factory=dict)
    _seats: list[_Seat | None] = field(default_factory=list)
    _waiting: deque[_Seat] = field(default_factory=deque)
    _ticks: int = 0

    def run(self, source: Iterator[Guest]) -> Iterator[Finished]:
        """Attack every image of ``source``, read as slots become free; results leave in the order they are reached."""
        drained = False
        while True:
            drained = drained or self._fetch(source)
            if drained and not self._waiting and not any(self._seats):
                return
            began = time.perf_counter()
            self._seat()
            self._tick()
            results = self._harvest()
            self.oracle.meter.seconds += time.perf_counter() - began
            yield from results

    def _fetch(self, source: Iterator[Guest]) -> bool:
        """Read as many images as there is room for; True where ``source`` has ended."""
        room = self.ladder.slots - self._live() - len(self._waiting)
        for _ in range(room):
            guest = next(source, None)
            if guest is None:
                return True
            seed = self.seeds(guest.id, self.attack.name, 0)
            self._waiting.append(_Seat(guest, torch.Generator().manual_seed(seed)))
        return False

    def _live(self) -> int:
        return sum(seat is not None for seat in self._seats)

    def _seat(self) -> None:
        """Fit the shape to the number of images, then fill free slots: first parked images, then new ones."""
        self._reshape(self.ladder.shape(self._live() + len(self._waiting)))
        free = [row for row, seat in enumerate(self._seats) if seat is None]
        fresh: list[int] = []
        for row in free[: len(self._waiting)]:
            seat = self._waiting.popleft()
            self._seats[row] = seat
            if seat.parked is None:
                fresh.append(row)
            else:
                self._write([row], seat.parked)
                seat.parked = None
        if fresh:
            self._begin(fresh)
        self.oracle.live = self._live()

    def _begin(self, rows: list[int]) -> None:
        """Start the run that each row's seat is at."""
        seats = [seat for row in rows if (seat := self._seats[row])]
        images = torch.stack([seat.guest.image for seat in seats])
        labels = torch.tensor([seat.guest.label for seat in seats], device=images.device)
        logits = torch.stack([seat.guest.logits for seat in seats])
        runs, streams = [seat.run for seat in seats], [seat.stream for seat in seats]
        state = self.attack.begin(Newcomers(images, labels, logits, runs, streams))
        fresh = {_KEEPER + name: value for name, value in opened(images).items()}
        if any(runs) and self._state:  # candidates of unfooled images outlive the run
            old = {name: self._state[name][rows] for name in fresh}
            again = torch.tensor([run > 0 for run in runs], device=images.device)
            for name in (_KEEPER + "candidate", _KEEPER + "score"):
                mask = again.view(-1, *[1] * (fresh[name].dim() - 1))
                fresh[name] = torch.where(mask, old[name], fresh[name])
        self._write(rows, state | fresh)

    def _write(self, rows: list[int], values: State) -> None:
        if not self._state:
            count = len(self._seats)
            self._state = {k: v[:1].expand(count, *v.shape[1:]).clone() for k, v in values.items()}
        for name, value in values.items():
            self._state[name][rows] = value

    def _reshape(self, shape: int) -> None:
        """Move the live rows into a batch of ``shape`` rows; those that do not fit are parked."""
        if shape == len(self._seats):
            return
        rows = [row for row, seat in enumerate(self._seats) if seat]
        stay, leave = rows[:shape], rows[shape:]
        for row in reversed(leave):
            seat = self._seats[row]
            if seat:
                seat.parked = {name: value[row : row + 1].clone() for name, value in self._state.items()}
                self._waiting.appendleft(seat)
        self._seats = [self._seats[row] for row in stay] + [None] * (shape - len(stay))
        if stay:
            index = stay + stay[:1] * (shape - len(stay))
            self._state = {name: value[index] for name, value in self._state.items()}
        else:
            self._state = {}

    def _tick(self) -> None:
        """One step of all rows; where memory runs out, half of them are parked and the step is tried again."""
        while True:
            stepped = attempt(self._stepped)
            if stepped is not None:
                break
            self.ladder.halve()
            self.oracle.meter.halvings += 1
            self._reshape(self.ladder.shape(self._live()))
            self.oracle.live = self._live()
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
        """Let go who is fooled or through, and start the next run of who is not."""
        due = [seat is not None and seat.age >= self.attack.steps for seat in self._seats]
        if self._ticks % self.period and not any(due):
            return []
        flags = torch.stack([self._state[_KEEPER + "fooled"], self._state[_KEEPER + "over"]]).tolist()
        results, again = [], []
        for row, seat in enumerate(self._seats):
            fooled, over = flags[0][row], flags[1][row]
            if seat is None or not (due[row] or over or (fooled and self.keep == "first")):
                continue
            if not fooled and seat.run + 1 < self.attack.runs(len(seat.guest.logits)):
                seat.run, seat.age = seat.run + 1, 0
                again.append(row)
                continue
            results.append(self._finished(row, seat, fooled))
            self._seats[row] = None
        if again:
            self._begin(again)
        return results

    def _finished(self, row: int, seat: _Seat, fooled: bool) -> Finished:
        if not fooled and self.keep != "best":
            return Finished(seat.guest, False)
        candidate = self._state[_KEEPER + "candidate"][row].clone()
        score = float(self._state[_KEEPER + "score"][row]) if self.keep == "best" else 0.0
        return Finished(seat.guest, fooled, candidate, score)

"""Estimates of what runs cost before they start: model calls, arithmetic, time, money, memory, disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.core.devices import check_device
from bench.core.nouns import Precision
from bench.core.spec import Spec
from bench.engine.world import World
from bench.plan.gauge import Amount, Gauge, Work
from bench.plan.models import Counting, Training
from bench.plan.notes import notes_on
from bench.plan.schedule import schedule
from bench.plan.types import Asked, Plan, PlannedRun, PlannedTraining, Shared, Totals
from bench.plan.units import Unit, calls_of, images_of, units_of

__all__ = ["Asked", "Plan", "plan"]

# Forwards of the judge in float32, per image: the target on the clean image and on the candidate, and for an image that
# may move on its two controls; the source on the clean image. Rounded candidates are one more.
_JUDGED, _CONTROLS, _LOOKED = 2, 2, 1
_ESTIMATED = "runs with --estimate are counted as full runs: the most that they can cost"
_ROW_BYTES = 200  # of a verdict while both shards and final file exist; 84 to 93 in digits' final files


def plan(specs: Sequence[tuple[str, str, Spec]], asked: Asked) -> Plan:
    """Plan runs, each given as its row, its column and its Spec.

    Raises:
        InputError: if the number of images is unknown, or the device is not available.
    """
    if asked.device is not None:
        check_device(asked.device, ", or --no-measure")
    gauge = Gauge(asked.device, asked.there, asked.mfu, asked.progress)
    planner = _Planner(asked, gauge)
    for row, column, spec in specs:
        planner.add(row, column, spec)
    return planner.finished()


@dataclass
class _Planner:
    asked: Asked
    gauge: Gauge
    runs: list[PlannedRun] = field(default_factory=list)
    units: dict[str, Unit] = field(default_factory=dict)
    judging: list[Work] = field(default_factory=list)
    trainings: dict[str, Training] = field(default_factory=dict)
    needed: dict[str, list[str]] = field(default_factory=dict)
    shards: list[tuple[int, Amount, Amount]] = field(default_factory=list)  # of each run, and what all of them cost

    def add(self, row: str, column: str, spec: Spec) -> None:
        counting, title = Counting(spec), " ".join(part for part in (row, column) if part)
        world = World(counting)
        target, source = world.target, counting.source(world)
        reached, attacked = counting.architectures[target.digest], counting.architectures[source.digest]
        images, batch = images_of(spec, self.asked), spec.batch_size
        calls = calls_of(spec, spec.attack)
        if spec.estimate is not None and _ESTIMATED not in self.gauge.notes:
            self.gauge.notes.append(_ESTIMATED)
        units = units_of(spec, source.digest, attacked, images, title)
        own = [unit for unit in units if unit.address not in self.units]
        owners = [self.units.setdefault(unit.address, unit).owner for unit in units]
        judging = [
            Work(reached, Precision.FP32, _judged(spec) * images, 0, batch),
            Work(attacked, Precision.FP32, _LOOKED * images, 0, batch),
        ]
        self.judging += judging
        for found, training in counting.trainings.items():
            self.trainings.setdefault(found, training)
            self.needed.setdefault(found, []).append(title)
        known = [unit.most for unit in units if unit.most is not None]
        most = [*(work for works in known for work in works), *judging]
        gauge = self.gauge
        self.shards.append(
            (
                -(-images // spec.shard_size),
                gauge.amount([*(work for unit in own for work in unit.least), *judging]),
                gauge.amount([*(work for unit in own for work in unit.most or ()), *judging]),
            )
        )
        clocked = gauge.clocked(attacked, spec.precision, batch) if calls and calls.least.backwards else None
        self.runs.append(
            PlannedRun(
                row=row,
                column=column,
                run_id=spec.run_id if spec.images else None,
                defense=spec.defense.name,
                threat=spec.threat.name,
                attack=spec.attack.name,
                budget=str(spec.budget),
                precision=spec.precision,
                source=source.note,
                target=target.note,
                images=images,
                calls=calls,
                least=gauge.amount([*(work for unit in units for work in unit.least), *judging]),
                most=gauge.amount(most) if len(known) == len(units) else None,
                memory=gauge.attack_bytes(attacked, spec.precision, batch, counting.architectures.values()),
                measured=clocked.peak if clocked else None,
                shares=owners[0] if owners and owners[0] != title else None,
                trains=tuple(training.name for training in counting.trainings.values()),
            )
        )

    def finished(self) -> Plan:
        """Totals and notes."""
        gauge = self.gauge
        trainings = [self._training(found, training) for found, training in self.trainings.items()]
        training = sum((t.amount for t in trainings), Amount())
        units, judged = list(self.units.values()), gauge.amount(self.judging)
        fixed = training + judged
        least = fixed + gauge.amount(work for unit in units for work in unit.least)
        most = fixed + gauge.amount(work for unit in units for work in unit.most or ())
        checkpoints = [gauge.checkpoint_bytes(t.architecture, t.recipe) for t in self.trainings.values()]
        totals = Totals(
            attacks=len({unit.owner for unit in units}),
            training=training,
            least=least,
            most=most,
            complete=all(unit.most is not None for unit in units),
            cost=self._cost(least, most),
            memory=max([run.memory for run in self.runs] + [t.memory for t in trainings]),
            shared=self._shared([t.amount for t in trainings]),
            images_bytes=sum(unit.bytes for unit in units),
            models_bytes=sum(t.model_bytes for t in trainings),
            checkpoint_bytes=max(checkpoints, default=0),
            verdicts_bytes=_ROW_BYTES * sum(run.images for run in self.runs),
        )
        return Plan(self.runs, trainings, totals, [*gauge.notes, *notes_on(self.runs, trainings, totals, self.asked)])

    def _shared(self, trainings: list[Amount]) -> Shared | None:
        """The whole plan on several workers: first the models, each by one worker, then the shards of all runs."""
        kind, workers = "there" if self.asked.there else "here", self.asked.workers
        models = [seconds for amount in trainings if (seconds := getattr(amount, kind)) is not None]
        whole = list[tuple[float, float]]()
        for which in (1, 2):
            each = [(run[0], getattr(run[which], kind)) for run in self.shards]
            if workers == 1 or any(seconds is None for _, seconds in each):
                return None
            shards = [seconds / count for count, seconds in each for _ in range(count)]
            seconds = schedule(shards, workers).seconds + (schedule(models, workers).seconds if models else 0.0)
            whole.append((seconds, (sum(shards) + sum(models)) / (seconds * workers) if seconds else 1.0))
        (least, good), (most, better) = whole
        return Shared(workers, sum(run[0] for run in self.shards), (least, most), (good, better))

    def _training(self, found: str, training: Training) -> PlannedTraining:
        recipe, gauge = training.recipe, self.gauge
        batch = min(self.asked.micro_batch or recipe.batch_size, recipe.batch_size)
        images = recipe.steps * recipe.batch_size * training.times
        work = Work(training.architecture, Precision(recipe.precision), images, images, batch)
        return PlannedTraining(
            name=training.name,
            options=training.options,
            seed=training.seed,
            steps=recipe.steps * training.times,
            batch_size=recipe.batch_size,
            precision=recipe.precision,
            amount=gauge.amount([work]),
            memory=gauge.training_bytes(training.architecture, recipe, batch),
            model_bytes=gauge.model_bytes(training.architecture, recipe) * training.times,
            runs=tuple(self.needed[found]),
        )

    def _cost(self, least: Amount, most: Amount) -> tuple[float, float] | None:
        low, high = (least.there, most.there) if self.asked.there else (least.here, most.here)
        if self.asked.price is None or low is None or high is None:
            return None
        return low / 3600 * self.asked.price, high / 3600 * self.asked.price


def _judged(spec: Spec) -> int:
    """Forwards of the target for each image."""
    return _JUDGED + (_CONTROLS + (spec.quantize is not None) if spec.budget.eps > 0 else 0)

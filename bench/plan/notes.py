"""Notes that explain a plan's figures."""

from __future__ import annotations

from bench.core.devices import memory, name_of
from bench.core.nouns import Precision
from bench.plan.types import Asked, PlannedRun, PlannedTraining, Totals


def notes_on(runs: list[PlannedRun], trainings: list[PlannedTraining], totals: Totals, asked: Asked) -> list[str]:
    """Notes that explain the figures."""
    there, notes = asked.there, list[str]()
    if quiet := [run for run in runs if not run.trains]:
        notes.append(f"nothing is trained for {len(quiet)} of {len(runs)} runs")
    if shared := [run for run in runs if run.shares]:
        notes.append(f"{len(shared)} of {len(runs)} runs judge adversarial images that another run makes: the "
                     "totals count them once")  # fmt: skip
    if any(run.run_id is None for run in runs):
        notes.append("run ids are left out: they follow from the images, which are not here; give --data FOLDER")
    if trainings:
        notes.append("models that exist already are listed too: they are not trained again")
    if unknown := sorted({run.attack for run in runs if run.calls is None}):
        notes.append(f"{', '.join(unknown)} does not report its cost: the most is unknown, and not in the totals")
    if there:
        used = {Precision(run.precision) for run in runs} | {Precision(t.precision) for t in trainings}
        notes += [f"{there.name} has no {p}: estimated at its fp32 peak" for p in sorted(used) if not there.has(p)]
    notes += _warnings(runs, trainings, totals, asked)
    return notes


def _warnings(runs: list[PlannedRun], trainings: list[PlannedTraining], totals: Totals, asked: Asked) -> list[str]:
    """Warnings of work that does not fit into the device's memory."""
    name, room = _room(asked)
    if room is None or totals.memory <= room:
        return []
    notes = []
    if (attack := max(run.memory for run in runs)) > room:
        notes.append(f"warning: an attack is estimated at {attack / 1e9:.3g} GB, {name} has {room / 1e9:.3g}: "
                     "expected a smaller batch_size (the engine also halves it automatically)")  # fmt: skip
    for training in {t.batch_size: t for t in trainings if t.memory > room}.values():
        notes.append(f"warning: training {training.name} is estimated at {training.memory / 1e9:.3g} GB, {name} "
                     f"has {room / 1e9:.3g}: expected a smaller --micro-batch")  # fmt: skip
    return notes


def _room(asked: Asked) -> tuple[str, float | None]:
    if asked.there:
        return asked.there.name, asked.there.bytes
    found = memory(asked.device) if asked.device else None
    return ("", None) if found is None else (name_of(str(asked.device)), float(found[1]))

"""Run what is missing of a suite, and hand every cell with its verdicts to a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.core.command import command_of
from bench.core.errors import BenchError, InputError, NotApplicableError
from bench.core.key import Key
from bench.core.plugins import Dataset
from bench.core.registry import registry
from bench.core.selection import read_ids
from bench.core.spec import Spec
from bench.engine.evaluate import evaluate
from bench.engine.means import Means
from bench.engine.resolve import resolve
from bench.engine.suite import Run
from bench.store.keyring import Keyring
from bench.store.suites import Cell


@dataclass
class Filled:
    """A suite as far as it could be filled.

    Attributes:
        cells: One for each run of the suite that makes sense, in its order.
        ran: Runs that were made now.
        failed: Why a run that was tried did not end with a record, one line each.
        left: Why runs were not tried, one line; empty where all were.
    """

    cells: list[Cell] = field(default_factory=list)
    ran: int = 0
    failed: list[str] = field(default_factory=list)
    left: str = ""


def fill(runs: Sequence[Run], keyring: Keyring, means: Means, *, render_only: bool = False) -> Filled:
    """Make the records that a suite lacks, one run after the other; what is there is read.

    A run that fails leaves its cell empty and the others go on.

    Args:
        runs: Of the suite.
        keyring: The defender's.
        means: Device, folders, who is told.
        render_only: Run nothing.

    Raises:
        InputError: a run of the suite makes no Spec; nothing has been run then.
    """
    asked = [(run, *found) for run in runs if (found := _resolved(run, keyring))]
    out = Filled()
    lacking = [spec for _, spec, _ in asked if not means.results.run(spec.run_id).record_path.exists()]
    if lacking:
        out.left = "--render-only was given" if render_only else _not_here(lacking[0], means)
    for number, (run, spec, key) in enumerate(asked, 1):
        there = means.results.run(spec.run_id).record_path.exists()
        if not there and not out.left:
            means.progress.note(f"run {number} of {len(asked)}: {_name(run)}")
            there = _made(run, spec, key, means, out)
        out.cells.append(_cell(run, spec, means, there=there))
    return out


def _resolved(run: Run, keyring: Keyring) -> tuple[Spec, Key | None] | None:
    try:
        return resolve(run.request, keyring)
    except NotApplicableError:
        return None


def _made(run: Run, spec: Spec, key: Key | None, means: Means, out: Filled) -> bool:
    try:
        evaluate(spec, key, means, read_ids(run.request.ids) if run.request.ids else None)
    except BenchError as error:
        out.failed.append(f"{_name(run)}: {error}")
        means.progress.note(f"failed: {out.failed[-1]}")
        return False
    out.ran += 1
    return True


def _cell(run: Run, spec: Spec, means: Means, *, there: bool) -> Cell:
    command = command_of(spec, run.request.key)
    if not there:
        return Cell(run.row, run.column, spec.device, command, None)
    record, rows = means.results.run(spec.run_id).read()
    return Cell(run.row, run.column, spec.device, command, record, tuple(rows))


def _not_here(spec: Spec, means: Means) -> str:
    """Why no run of a profile can be tried on this machine, or nothing."""
    dataset: Dataset = registry("datasets").make(spec.profile.dataset)
    if dataset.needs_root and means.data is None:
        return f"data set {spec.profile.dataset} lies in a folder that was not named; give --data DIR to run them"
    try:
        means.results.root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"results folder {means.results.root} cannot be made: {error.strerror}") from None
    return ""


def _name(run: Run) -> str:
    device = f", device {run.request.judge_device}" if run.request.judge_device else ""
    return f"{run.row} {run.column}{device}"

"""Run the missing parts of a suite, and pass every cell with its verdicts to a report."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import torch

from bench.core.errors import BenchError, InputError, NotApplicableError
from bench.core.profile import load_profile
from bench.core.rerun_command import command_of
from bench.core.spec import Spec
from bench.engine.evaluate import run as evaluate
from bench.engine.images_here import ImagesHere
from bench.engine.job import Job
from bench.engine.means import Means
from bench.engine.request import Request
from bench.engine.resolve import resolve
from bench.store.keyring import Keyring
from bench.store.suites import Cell
from bench.studies.spread import Together, make_all, worker_count
from bench.studies.suite import SuiteRun

_TELL = 10  # runs between two progress lines


@dataclass
class Filled:
    """A suite, as far as it could be filled.

    Attributes:
        cells: One for each applicable run of the suite, in its order.
        ran: Number of runs made now.
        failed: Why attempted runs ended without a record, one line each.
        left: Why runs were not attempted, one line; empty if all were.
    """

    cells: list[Cell] = field(default_factory=list)
    ran: int = 0
    failed: list[str] = field(default_factory=list)
    left: str = ""


def fill(runs: Sequence[SuiteRun], keyring: Keyring, means: Means, *, render_only: bool = False) -> Filled:
    """Make the records that a suite lacks; existing ones are read.

    A failed run leaves its cell empty and the others continue.

    Args:
        runs: Runs of the suite.
        keyring: The defender's.
        means: Device, folders, progress.
        render_only: Run nothing.

    Raises:
        InputError: if a run of the suite is invalid; nothing has been run then.
    """
    data = ImagesHere(means)
    found = [(run, job) for run in runs if (job := _resolved(run, keyring, data))]
    alike = _alike([job.spec for _, job in found if render_only or not job.spec.images], means)
    asked = [(run, alike.get(job.run_id, job.spec)) for run, job in found]
    out = Filled()
    missing: dict[str, SuiteRun] = {}
    for run, spec in asked:
        if not means.results.run(spec.run_id).complete:
            missing.setdefault(spec.run_id, run)
    if missing:
        lacking = next(spec for _, spec in asked if spec.run_id in missing)
        out.left = "--render-only was given" if render_only else _not_here(lacking, means)
    if missing and not out.left:
        _make(list(missing.values()), replace(means, verify_data=False), out)  # once is enough
    out.cells += [_cell(run, spec, means) for run, spec in asked]
    return out


def default_workers(profile: str, device: str) -> int:
    """All cores for a profile with models small enough to be trained on demand; otherwise one process."""
    small = load_profile(profile).train_on_demand and device == "cpu"
    return torch.get_num_threads() if small else 1


def applicable(runs: Sequence[SuiteRun], keyring: Keyring) -> list[SuiteRun]:
    """The runs of a suite that exist: some threats and attacks do not apply to some defenses."""
    out = []
    for run in runs:
        with suppress(NotApplicableError):
            resolve(run.request, keyring)
            out.append(run)
    return out


def groups_of(runs: Sequence[SuiteRun]) -> list[Together]:
    """Runs of a suite that share adversarial images, in the order in which workers get them.

    The first column of every row comes first, so that workers train different models.
    """
    columns = list(dict.fromkeys(run.column for run in runs))
    cells: dict[tuple[int, str], list[Request]] = {}
    for run in runs:
        cells.setdefault((columns.index(run.column), run.row), []).append(run.request)
    return [cells[cell] for cell in sorted(cells, key=lambda cell: cell[0])]


def _resolved(run: SuiteRun, keyring: Keyring, data: ImagesHere) -> Job | None:
    """The run on the images at hand, or without their digest if the data set needs a folder and none is given."""
    try:
        job = resolve(run.request, keyring)
        return resolve(run.request, keyring, data) if data.here(job.spec.profile) else job
    except NotApplicableError:
        return None


def _make(runs: Sequence[SuiteRun], means: Means, out: Filled) -> None:
    """Make runs, in this process or in several."""
    several = worker_count(means, default_workers(runs[0].request.profile, means.device))

    def done(failed: str | None) -> None:
        if failed:
            out.failed.append(failed)
            means.progress.note(f"failed: {failed}")
        else:
            out.ran += 1
        told = out.ran + len(out.failed)
        if several > 1 and (told % _TELL == 0 or told == len(runs)):
            means.progress.note(f"{told} of {len(runs)} runs are done")

    if several > 1 or means.backend != "local":
        names = {id(run.request): _name(run) for run in runs}
        means.progress.note(f"{len(runs)} runs on {several} workers")
        make_all(groups_of(runs), replace(means, workers=several),
                 lambda request, why: done(why and f"{names[id(request)]}: {why}"))  # fmt: skip
        return
    for number, run in enumerate(runs, 1):
        means.progress.note(f"run {number} of {len(runs)}: {_name(run)}")
        done(_made(run, means))


def _made(run: SuiteRun, means: Means) -> str | None:
    """Make one run; returns the reason if it failed."""
    try:
        evaluate(resolve(run.request, Keyring(means.home.keys), ImagesHere(means)), means)
    except BenchError as error:
        return f"{_name(run)}: {error}"
    return None


def _cell(run: SuiteRun, spec: Spec, means: Means) -> Cell:
    command = command_of(spec, run.request.key)
    folder = means.results.run(spec.run_id)
    found = folder.read() if folder.complete else None
    return Cell(run.row, run.column, spec.device, command, found, run.stands_for)


def _alike(specs: Sequence[Spec], means: Means) -> dict[str, Spec]:
    """For Specs without a finished run, those of the finished runs that differ only in naming other images or none.

    Returns:
        By run id. A table can so be rendered where the images are not.

    Raises:
        InputError: if there are several for one of them.
    """
    lacking = {spec.without_images.run_id: spec.run_id for spec in specs
               if not means.results.run(spec.run_id).complete}  # fmt: skip
    out: dict[str, Spec] = {}
    for run_id in means.results.ids() if lacking else ():
        spec = means.results.run(run_id).record().spec
        mine = lacking.get(spec.without_images.run_id)
        if mine in out:
            raise InputError(f"runs {out[mine].run_id} and {run_id} differ only in their images; expected --data "
                             "FOLDER with the images of one of them")  # fmt: skip
        if mine is not None:
            out[mine] = spec
    return out


def _not_here(spec: Spec, means: Means) -> str:
    """Why no run of a profile can be attempted on this machine, or an empty text."""
    if not ImagesHere(means).here(spec.profile):
        return f"data set {spec.profile.dataset} needs a folder; give --data DIR to run them"
    try:
        means.results.root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"results folder {means.results.root} cannot be made: {error.strerror}") from None
    return ""


def _name(run: SuiteRun) -> str:
    device = f", device {run.request.judge_device}" if run.request.judge_device else ""
    return f"{run.row} {run.column}{device}"

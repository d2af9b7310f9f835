"""`bench.load`, `bench.results` and `bench.compare`: existing runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api.options import resources_of
from bench.api.runs import LocalRun
from bench.store.elsewhere import results_folder
from bench.store.run import Run
from bench.store.runs import RunStore
from bench.studies.compare import Comparison
from bench.studies.compare import compare as compare_runs

if TYPE_CHECKING:
    import pandas as pd


def load(run: str | Path, *, results: str | Path = "results", **options: Any) -> LocalRun:
    """Read a run with its record and verdicts, checked against each other.

    Args:
        run: The run id or its first digits, or the path of the run's folder.
        results: Folder of records, if ``run`` is an id.
        **options: Folders and device for reading images: ``data``, ``weights``, ``device``, ``offline``.

    Raises:
        UnknownNameError: if no run starts with these digits, or several do.
        CorruptArtifactError: if record or verdicts are damaged.
    """
    path = Path(run)
    if (path / "record.json").is_file():
        results, run = path.resolve().parent, path.resolve().name
    resources = resources_of({**options, "results": results})
    found = RunStore(resources.results).find(str(run)).read()
    return LocalRun(found.record, found.rows, folder=found.folder, resources=resources)


def results(folder: str | Path = "results") -> pd.DataFrame:
    """One row per complete run of a results folder; accuracies in [0, 1].

    Raises:
        CorruptArtifactError: if a record is damaged.
    """
    import pandas as pd  # noqa: PLC0415 (slow)

    store = RunStore(results_folder(folder))
    return pd.DataFrame([_line(store, run_id) for run_id in store.ids()], columns=list(_COLUMNS))


_COLUMNS = (
    "run_id", "profile", "defense", "threat", "attack", "norm", "eps", "protocol", "seed", "tier", "images",
    "clean_accuracy", "robust_accuracy", "low", "high", "source_clean_accuracy", "eligible", "started",
)  # fmt: skip


def _line(store: RunStore, run_id: str) -> dict[str, Any]:
    record = store.run(run_id).record()
    spec, metrics = record.spec, record.metrics
    low, high = metrics.robust_accuracy_interval
    return {
        "run_id": record.run_id,
        "profile": spec.profile.name,
        "defense": spec.defense.name,
        "threat": spec.threat.name,
        "attack": spec.attack.name,
        "norm": spec.budget.norm.value,
        "eps": spec.budget.radius,
        "protocol": spec.protocol.value,
        "seed": spec.seed,
        "tier": record.adversary.tier,
        "images": metrics.images,
        "clean_accuracy": metrics.clean_accuracy,
        "robust_accuracy": metrics.robust_accuracy,
        "low": low,
        "high": high,
        "source_clean_accuracy": metrics.source_clean_accuracy,
        "eligible": record.eligible,
        "started": _when(record.provenance.started),
    }


def _when(text: str) -> Any:
    """A record's time as a pandas timestamp; NaT if it cannot be read."""
    import pandas as pd  # noqa: PLC0415 (slow)

    return pd.to_datetime(text, utc=True, errors="coerce")


def compare(*runs: Run | str | Path, results: str | Path = "results") -> Comparison:
    """Compare runs on the same images: paired difference, exact McNemar test, Holm's correction over all pairs.

    Args:
        *runs: Two or more runs, or ids of runs, or their folders.
        results: Folder of records, if a run is given by its id.

    Raises:
        InputError: if the runs cannot be compared; the first reason is given.
    """
    return compare_runs([run if isinstance(run, Run) else load(run, results=results) for run in runs])

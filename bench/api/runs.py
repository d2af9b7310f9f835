"""`bench.evaluate`: one evaluation, returned as a run with its verdicts and images."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bench.api.options import configured, documented
from bench.api.progress import listener
from bench.core.rerun_command import command_of
from bench.engine.evaluate import run as evaluate_job
from bench.engine.images_here import ImagesHere
from bench.engine.means import Means
from bench.engine.request import Request, Resources
from bench.engine.resolve import resolve
from bench.store.home import Home
from bench.store.keyring import Keyring
from bench.store.run import Run
from bench.store.verdicts import Row

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Images:
    """Images of a run as they were judged.

    Attributes:
        ids: Image ids (n).
        labels: The true classes (n,), int64.
        clean: Pixels (n, H, W, C), float32 in [0, 1].
        adversarial: Pixels (n, H, W, C), float32.
        outcomes: Verdicts (n), such as ``robust`` or ``fooled``.
    """

    ids: tuple[str, ...]
    labels: NDArray[np.int64]
    clean: NDArray[np.float32]
    adversarial: NDArray[np.float32]
    outcomes: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Images({len(self.ids)} of shape {self.clean.shape[1:]}: {', '.join(self.ids)})"


@dataclass(frozen=True, repr=False)
class LocalRun(Run):
    """A local run: its verdicts as a table, its images from the cache.

    Attributes:
        resources: Folders and device for reading images.
    """

    resources: Resources = field(default_factory=Resources, compare=False)

    @cached_property
    def verdicts(self) -> pd.DataFrame:
        """One row per image: the columns of verdicts.parquet, and whether the image is ``robust``."""
        import pandas as pd  # noqa: PLC0415 (slow)

        rows = [{**asdict(row), "outcome": row.outcome.value, "robust": row.robust} for row in self.rows]
        predictions = [f.name for f in fields(Row) if f.name.endswith("_prediction")]
        return pd.DataFrame(rows).astype(dict.fromkeys(predictions, "Int64"))

    def images(
        self, ids: Sequence[str] | None = None, *, count: int = 12, seed: int = 0, fooled: bool = False
    ) -> Images:
        """Clean and adversarial images, from the stored adversarial images; nothing is attacked.

        Args:
            ids: These images, in this order; None for random ones.
            count: Number of random images.
            seed: Random seed of the selection.
            fooled: Select only among images that fooled the target.

        Raises:
            InputError: if an id is not in the run, there are too few images, or the adversarial images are not stored.
            CorruptArtifactError: if the images are not those that were judged.
        """
        import numpy as np  # noqa: PLC0415

        from bench.engine.gallery import Choice, pick, read_pictures  # noqa: PLC0415 (slow)

        chosen = pick(self.rows, Choice(tuple(ids) if ids is not None else None, count, seed, fooled), most=None)
        with listener(show=False) as progress:
            found = read_pictures(self, chosen, Means.of(self.resources, progress))
        return Images(
            ids=tuple(one.row.image_id for one in found),
            labels=np.array([one.row.label for one in found], dtype=np.int64),
            clean=np.stack([one.clean for one in found]),
            adversarial=np.stack([one.adversarial for one in found]),
            outcomes=tuple(one.row.outcome.value for one in found),
        )


@documented(Request, Resources)
def evaluate(defense: str, threat: str, *, progress: bool = True, **options: Any) -> LocalRun:
    """Attack one defense under one threat model and judge every image.

    A complete run is read back; an interrupted one resumes.

    Args:
        defense: See ``bench list defenses``.
        threat: See ``bench list threats``.
        progress: Show progress: bars in a terminal or a notebook, lines elsewhere.
        **options: The options below.

    Returns:
        The run, with its record and verdicts.

    Raises:
        InputError: if the request cannot be run; nothing has been written then.
        BenchError: for damaged files or a full disk; finished shards are kept.
    """
    request, resources = configured({"defense": defense, "threat": threat, **options})
    with listener(show=progress) as told:
        job = resolve(request, Keyring(Home.default().keys), ImagesHere(Means.of(resources, told)))
        argv = tuple(shlex.split(command_of(job.spec, request.key)))
        if job.spec.budget.doubt:
            told.note(f"warning: {job.spec.budget.doubt}")
        made = evaluate_job(job, Means.of(resources, told, argv=argv, key_name=request.key))
    return LocalRun(made.record, made.rows, complete=made.complete, folder=made.folder, resources=resources)

"""Images of a run as they were judged: selected or random ones, clean and adversarial."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from bench.core.ball import distance
from bench.core.errors import BenchError, CorruptArtifactError, InputError, UnknownNameError
from bench.core.names import suggestion
from bench.core.nouns import Batch, Outcome
from bench.core.progress import stage
from bench.core.seeds import seed_of
from bench.core.spec import Spec
from bench.engine.kept import KeptImages
from bench.engine.means import Means
from bench.store.galleries import Pictured
from bench.store.run import Run
from bench.store.verdicts import Row

MOST = 40  # images per picture
_APART = 1e-5  # distances may differ in the last bits between machines, as in verify


@dataclass(frozen=True)
class Choice:
    """Selection of images.

    Attributes:
        ids: These, in this order; None for random ones.
        count: Number of random ones.
        seed: Seed of the selection.
        fooled: Select only among images that fooled the target.
    """

    ids: tuple[str, ...] | None = None
    count: int = 12
    seed: int = 0
    fooled: bool = False

    @property
    def words(self) -> str:
        """For the caption."""
        if self.ids is not None:
            return "chosen by id"
        return f"drawn at random{' among the fooled' if self.fooled else ''} with seed {self.seed}"


def pick(rows: Sequence[Row], choice: Choice, *, most: int | None = MOST) -> list[Row]:
    """The verdicts of the selected images; random ones in the run's order.

    An image's turn is drawn from the seed and its id alone.

    Raises:
        InputError: an id is not in the run or has no adversarial image; there are fewer images, or too many are asked.
    """
    wanted = choice.count if choice.ids is None else len(choice.ids)
    if wanted < 1 or (most is not None and wanted > most):
        room = f"to {most} in one picture" if most else "or more"
        raise InputError(f"{wanted} images were requested; expected 1 {room}")
    if choice.ids is not None:
        return _listed(rows, choice.ids)
    fit = [row for row in rows if row.outcome is not Outcome.ERROR]
    if choice.fooled:
        fit = [row for row in fit if row.outcome is Outcome.FOOLED]
    if len(fit) < wanted:
        kind = "fooled images" if choice.fooled else "images"
        raise InputError(f"{wanted} images were requested, the run has {len(fit)} {kind}; expected --images {len(fit)} "
                         "or fewer" if fit else f"the run has no {kind}; expected another run")  # fmt: skip
    drawn = sorted(fit, key=lambda row: seed_of(choice.seed, row.image_id, "gallery"))[:wanted]
    return [row for row in fit if row in drawn]


def pictured(run: Run, means: Means, choice: Choice) -> list[Pictured]:
    """The chosen images from the kept adversarial images of a run; nothing is attacked.

    Raises:
        InputError: see :func:`pick`; the adversarial images are not kept.
        CorruptArtifactError: record or verdicts are damaged, or the images are not those that were judged.
    """
    return read_pictures(run, pick(run.rows, choice), means)


def read_pictures(run: Run, chosen: Sequence[Row], means: Means) -> list[Pictured]:
    """Some images of a run, clean and adversarial, from its kept adversarial images.

    Args:
        run: The run.
        chosen: Its rows of the images.
        means: Device, folders, progress.

    Raises:
        InputError: the adversarial images are not kept, or an image cannot be read.
        CorruptArtifactError: the images are not those that were judged.
    """
    spec = run.record.spec
    places = {row.image_id: i for i, row in enumerate(run.rows)}
    kept = KeptImages(run, means)
    found: dict[str, Pictured] = {}
    shards = sorted({places[row.image_id] // spec.shard_size for row in chosen})
    with stage(means.progress, "read the kept images", len(shards), "shard") as advance:
        for index in shards:
            batch, images = _read(kept, index)
            for row in (row for row in chosen if row.image_id in batch.ids):
                at = batch.ids.index(row.image_id)
                found[row.image_id] = _checked(spec, row, batch.images[at], images[at])
            advance(1)
    if missing := [row.image_id for row in chosen if row.image_id not in found]:
        raise InputError(f"image {missing[0]!r} cannot be read; expected the data that the run was made on")
    return [found[row.image_id] for row in chosen]


def _listed(rows: Sequence[Row], ids: Sequence[str]) -> list[Row]:
    known = {row.image_id: row for row in rows}
    for image_id in ids:
        if image_id not in known:
            raise UnknownNameError(f"image {image_id!r} is not in the run{suggestion(image_id, known)}")
        if known[image_id].outcome is Outcome.ERROR:
            raise InputError(
                f"image {image_id!r} is ERROR in the run, so it has no adversarial image; expected another"
            )
    return [known[image_id] for image_id in dict.fromkeys(ids)]


def _read(kept: KeptImages, index: int) -> tuple[Batch, Tensor]:
    try:
        return kept.read(index)
    except InputError:
        raise
    except BenchError as error:  # not kept: bad input of this command
        raise InputError(str(error)) from None


def _checked(spec: Spec, row: Row, clean: Tensor, adversarial: Tensor) -> Pictured:
    """The pair, if it is the one that was judged."""
    same = hashlib.sha256(clean.numpy().tobytes()).hexdigest() == row.image_sha256
    far = distance(adversarial[None], clean[None], spec.budget.norm).item()
    if not same or (row.distance is not None and abs(far - row.distance) > _APART):
        which = "kept adversarial image" if same else "image"
        raise CorruptArtifactError(f"{which} {row.image_id!r} is not the one that was judged; expected the data and "
                                   "the cache that the run was made with")  # fmt: skip
    return Pictured(row, clean.permute(1, 2, 0).numpy(), adversarial.permute(1, 2, 0).numpy())

"""Judge the images of a submission again, on a local model, and compare every verdict."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

from torch import Tensor

from bench.core.errors import BenchError
from bench.core.nouns import Batch, Trained
from bench.core.plugins import Threat
from bench.core.progress import stage
from bench.core.registry import registry
from bench.engine.answering import predictions
from bench.engine.apart import answering_of
from bench.engine.images_here import ImagesHere
from bench.engine.judge import predict
from bench.engine.means import Means
from bench.engine.shards import choose
from bench.engine.world import World
from bench.store.evidence import Evidence
from bench.store.record import Record
from bench.store.verdicts import Row
from bench.submissions.deployment import source_of
from bench.submissions.limited import CannotError
from bench.submissions.remeasure import Remeasure
from bench.submissions.second_look import attack_again, differences

_CLOSE = 1e-5  # tolerance for distances measured on two machines
_MOST = 20  # disagreements that are listed
_CHUNK = 4  # judge forwards for which images are held at once


@dataclass
class Rejudged:
    """The result of judging again.

    Attributes:
        images: Adversarial images judged again.
        checked: What was compared and agrees, one line each.
        unchecked: What could not be compared, and why.
        disagreements: What disagrees, one line each.
        doubts: Why the run is not confirmed although nothing disagrees, one line each.
    """

    images: int = 0
    checked: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    disagreements: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


@dataclass
class _Tally:
    """Differences by kind, and the number of comparisons."""

    looked: int = 0
    clean: list[str] = field(default_factory=list)
    source: list[str] = field(default_factory=list)
    verdicts: list[str] = field(default_factory=list)
    further: list[str] = field(default_factory=list)


def rejudge(evidence: Evidence, world: World, images: Callable[[int], Tensor] | None, means: Means) -> Rejudged:
    """Judge everything again that is possible.

    Args:
        evidence: The submission, its figures checked.
        world: Its deployment, built from the local profile.
        images: The adversarial images of a shard, (B, C, H, W), readable ones only; None if none are packed.
        means: Device, listener.

    Raises:
        CannotError: if the data is not available, or the model is not the one in the record.
        RefusedError: if the archive's images do not match its manifest.
    """
    record, rows, out = evidence.record, list(evidence.rows), Rejudged()
    positions = _positions(world, rows, out)
    if not out.disagreements:
        _name(record, world, means, out)
    if out.disagreements:
        return out
    out.checked.append(f"images: the {len(rows)} selected by the spec, in its order")
    target = world.target
    if target.digest != record.digests.target:
        raise CannotError(f"the model made here has digest {target.digest[:12]}, the record's has "
                          f"{record.digests.target[:12]} (another machine or version trained it)")  # fmt: skip
    out.checked.append(f"target: digest {target.digest[:12]} equals that of the model made here")
    source = _source(evidence, world, out)
    answering = answering_of(world, means.isolate)
    tally, remeasure = _Tally(), Remeasure(world, answering, rows)
    with closing(answering), stage(means.progress, "judge again", len(rows), "image") as advance:
        for shard, start, part in _parts(world, rows):
            packed = images(shard) if images else None
            _compare(world, rows, positions, start, part, packed, source, tally, remeasure)
            advance(len(part))
    _conclude(out, tally, rows, packed=images is not None, source=source is not None)
    if images is not None:
        _conclude_further(out, tally, remeasure)
    if record.spec.budget.eps > 0 and not out.disagreements:
        _look_again(evidence, world, source, positions, out)
    return out


def _look_again(evidence: Evidence, world: World, source: Trained | None, positions: list[int], out: Rejudged) -> None:
    """Audit and attack on this side; without either the run is not confirmed."""
    record = evidence.record
    chosen = choose(world.spec, world.test_split, None)[0] if record.spec.ids is None else positions
    if wrong := differences(record, world, source, chosen):
        out.disagreements += wrong
        return
    out.checked.append("audit: the cheap checks, run again here, have the same results")
    if source is None:
        out.doubts.append("attack: no attack of this side: the source is not available here")
        return
    try:
        worse, text = attack_again(evidence, world, source, positions)
    except Exception as why:  # whatever a model or an attack raises, the other results stand
        out.doubts.append(f"attack: no attack of this side: {' '.join(str(why).split())}")
        return
    (out.doubts if worse else out.checked).append(f"attack: {text}")


def _positions(world: World, rows: list[Row], out: Rejudged) -> list[int]:
    """Positions of the images in the local data; a disagreement if they are not those that the Spec selects."""
    spec, split = world.spec, world.test_split
    at = {image_id: i for i, image_id in enumerate(split.ids)}
    ids = [row.image_id for row in rows]
    if missing := [i for i in ids if i not in at]:
        out.disagreements.append(f"data: {len(missing)} images are not in the local data, the first is {missing[0]!r}")
        return []
    if spec.ids is None:
        expected, _ = choose(spec, split, None)
        if [split.ids[p] for p in expected[: len(ids)]] != ids:
            out.disagreements.append("data: the images are not those selected by the spec, or in another order")
    return [at[image_id] for image_id in ids]


def _name(record: Record, world: World, means: Means, out: Rejudged) -> None:
    """Compare the digests of images and training images in the Spec with those of the local data."""
    said = record.spec
    if said.ids is not None or said.images is None:  # of a list, every image is compared by its own digest
        return
    here = ImagesHere(means).named(world.spec.without_images, None)
    for name in ("images", "training"):
        theirs, ours = getattr(said, name), getattr(here, name)
        if theirs is not None and ours is not None and theirs != ours:
            out.disagreements.append(f"data: spec.{name} is {theirs[:12]}, of the data here it is {ours[:12]}")


def _source(evidence: Evidence, world: World, out: Rejudged) -> Trained | None:
    record = evidence.record
    threat: Threat | None = None
    try:
        threat = registry("threats").make(record.spec.threat.name, record.spec.threat.options)
        source = source_of(world, threat)
    except BenchError as why:
        out.unchecked.append(f"source: not checked: {why}")
        return None
    if source.digest != record.digests.source:
        out.disagreements.append(f"source: the record has {record.digests.source[:12]}, threat "
                                 f"{record.spec.threat.name} has {source.digest[:12]} here")  # fmt: skip
        return None
    out.checked.append(f"source: digest {source.digest[:12]} is that of threat {record.spec.threat.name} here")
    return source


def _parts(world: World, rows: list[Row]) -> Iterator[tuple[int, int, list[Row]]]:
    """Shards with their offsets."""
    size = min(world.spec.shard_size, len(rows))
    for shard, start in enumerate(range(0, len(rows), size)):
        yield shard, start, rows[start : start + size]


def _compare(
    world: World,
    rows: list[Row],
    positions: list[int],
    start: int,
    part: list[Row],
    packed: Tensor | None,
    source: Trained | None,
    tally: _Tally,
    remeasure: Remeasure,
) -> None:
    """Judge one shard, a few images at a time."""
    readable = [i for i in range(start, start + len(part)) if rows[i].image_sha256 is not None]
    step = _CHUNK * world.spec.profile.judge_batch
    for at in range(0, len(readable), step):
        of = readable[at : at + step]
        clean = world.test_split.read([positions[i] for i in of])
        attacked = packed[at : at + step] if packed is not None else None
        whole = len(of) == len(readable)
        _compare_some(world, [rows[i] for i in of], clean, attacked, source, tally, remeasure, whole=whole)


def _compare_some(
    world: World,
    rows: list[Row],
    clean: Batch,
    attacked: Tensor | None,
    source: Trained | None,
    tally: _Tally,
    remeasure: Remeasure,
    *,
    whole: bool,
) -> None:
    pixels, rows_of = clean.images.numpy(), world.spec.profile.judge_batch
    labels = clean.labels.tolist()
    for i, row in enumerate(rows):
        if hashlib.sha256(pixels[i].tobytes()).hexdigest() != row.image_sha256:
            tally.clean.append(f"{row.image_id}: the clean image differs from the one here")
        elif labels[i] != row.label:
            tally.clean.append(f"{row.image_id}: label {row.label}, here it is {labels[i]}")
    batch = clean.to(world.device)
    if source is not None:
        for row, got in zip(rows, predict(source.model, batch.images, rows_of), strict=True):
            if got != row.source_prediction:
                tally.source.append(
                    f"{row.image_id}: the source predicts {got}, the record says {row.source_prediction}"
                )
    if attacked is None:
        for row, got in zip(rows, predictions(remeasure.target.answers([batch.images])[0]), strict=True):
            if got != row.clean_prediction:
                tally.clean.append(f"{row.image_id}: clean prediction {got}, the record says {row.clean_prediction}")
    else:
        verdicts, differ = remeasure.judge(rows, batch, attacked.to(world.device), whole=whole)
        tally.further += differ
        for row, new in zip(rows, verdicts, strict=True):
            if wrong := _difference(row, new):
                tally.verdicts.append(f"{row.image_id}: {wrong}")
    tally.looked += len(rows)


def _difference(row: Row, new: object) -> str | None:
    for name in ("outcome", "clean_prediction", "adversarial_prediction"):
        said, got = getattr(row, name), getattr(new, name)
        if said != got:
            return f"{name} {got}, the record says {said}"
    said, got = row.distance, getattr(new, "distance")  # noqa: B009
    if (said is None) != (got is None) or abs((said or 0) - (got or 0)) > _CLOSE:
        return f"distance {got}, the record says {said}"
    return None


def _conclude(out: Rejudged, tally: _Tally, rows: list[Row], *, packed: bool, source: bool) -> None:
    unread = len(rows) - tally.looked
    for what, wrong, done in (
        ("clean images, labels" + ("" if packed else " and clean predictions"), tally.clean, True),
        ("predictions of the source on clean images", tally.source, source),
        ("adversarial images: outcome, both predictions and distance", tally.verdicts, packed),
    ):
        out.disagreements += wrong[:_MOST]
        if len(wrong) > _MOST:
            out.disagreements.append(f"{len(wrong) - _MOST} more differ in {what}")
        if done and not wrong:
            out.checked.append(f"{what}: {tally.looked} compared")
    out.images = tally.looked if packed else 0
    if not packed:
        out.unchecked.append("adversarial verdicts: not checked: the archive holds no adversarial images "
                             "(`bench results pack --with-images`)")  # fmt: skip
    if unread:
        out.unchecked.append(f"{unread} images: not checked: the submitter could not read them")


def _conclude_further(out: Rejudged, tally: _Tally, remeasure: Remeasure) -> None:
    out.disagreements += tally.further[:_MOST]
    if len(tally.further) > _MOST:
        out.disagreements.append(f"{len(tally.further) - _MOST} more differ in further measurements")
    done = [name for name in remeasure.columns if name not in remeasure.unchecked]
    if done and not tally.further:
        out.checked.append(f"further measurements ({', '.join(done)}): {tally.looked} compared")
    for name in sorted(remeasure.unchecked & set(remeasure.columns)):
        out.unchecked.append(f"{name}: not checked: a shard has more images than are judged at once here")

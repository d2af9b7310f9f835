"""Check: the data set opens, is complete, and its images can be decoded."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from bench.core.errors import BenchError
from bench.core.plugins import Split
from bench.core.profile import Profile
from bench.core.progress import Silent, stage
from bench.doctor.examined import Examined
from bench.doctor.finding import Diagnosis, Topic
from bench.engine.shards import Reader
from bench.store.files import write_whole

_TOPIC = Topic("data")
_BLOCK = 64  # images decoded at once
_LONG = 1000  # number of images that needs a progress line
_PART = "complete it, or give --limit or --ids to judge a part on purpose"
_TRAIN = "complete it before training; evaluating a trained model needs no training images"


def check(examined: Examined) -> Iterator[Diagnosis]:
    """Check the test split, which every run needs, then the training split, which only some runs need."""
    yield from _split(examined, "test", fatal=True)
    yield from _split(examined, "train", fatal=trains(examined.profile))
    if examined.question.manifest is not None:
        write_whole(examined.question.manifest, json.dumps(examined.manifest, indent=2).encode() + b"\n")
        yield _TOPIC.ok(f"manifest of {' and '.join(examined.manifest) or 'nothing'} in {examined.question.manifest}")


def trains(profile: Profile) -> bool:
    """Whether a run of the profile may train a model."""
    starts = (profile.base, profile.start or profile.base)
    return profile.train_on_demand or any(base.recipe is not None for base in starts)


def _split(examined: Examined, name: str, *, fatal: bool) -> Iterator[Diagnosis]:
    try:
        split, chosen = examined.split(name), examined.chosen(name)
    except BenchError as error:
        yield _error(name, error, fatal=fatal)
        return
    digest = examined.digest(name)
    yield _TOPIC.ok(f"{name} split: {_said(split)}, digest {digest[:12]}")
    if name == "train" and split.layout == "Parquet":
        slow = "train split: Parquet is read one row group at a time, and training reads images in random order"
        yield _TOPIC.warn(slow, "train from class folders, the archives or WebDataset if reading is too slow")
    per_class = Counter(split.labels)
    examined.manifest[name] = {
        "images": len(split.ids),
        "digest": digest,
        "per_class": {str(label): per_class[label] for label in sorted(per_class)},
        "problems": split.problems(),
    }
    yield from _makeup(examined, name, split, fatal=fatal)
    if len(chosen) < len(split.ids):
        yield _TOPIC.ok(f"{name} split: {len(chosen):,} images are selected")
    yield from _decoded(examined, name, split, chosen, fatal=fatal)


def _error(name: str, error: Exception, *, fatal: bool) -> Diagnosis:
    found = _TOPIC.error(error, fatal=fatal)
    return replace(found, finding=f"{name} split: {found.finding}")


def _said(split: Split) -> str:
    layout = f" ({split.layout})" if split.layout else ""
    return f"{len(split.ids):,} images, {len(set(split.labels)):,} classes{layout}"


def _makeup(examined: Examined, name: str, split: Split, *, fatal: bool) -> Iterator[Diagnosis]:
    """Differences from the published size, and whether the profile's classes match the data's."""
    asked, classes = examined.question.request, examined.profile.classes
    part = name == "test" and (asked.limit is not None or asked.ids is not None)
    problems = split.problems()
    for problem in problems:
        line, advice = f"{name} split: {problem}", _PART if name == "test" else _TRAIN
        yield _TOPIC.wrong(
            line, "only a part is selected, so a run continues" if part else advice, fatal=fatal and not part
        )
    if (top := max(split.labels) + 1) > classes:
        there = f"{name} split: labels up to {top - 1}, so {top} classes, and the profile has {classes}"
        yield _TOPIC.wrong(there, f"give --set profile.classes={top}", fatal=fatal)
    elif not problems and (have := len(set(split.labels))) < classes:
        there = f"{name} split: {have:,} classes, and the profile has {classes:,}"
        yield _TOPIC.warn(there, f"give --set profile.classes={have}, unless classes without images are intended")


def _decoded(examined: Examined, name: str, split: Split, chosen: Sequence[int], *, fatal: bool) -> Iterator[Diagnosis]:
    """Read a sample spread over the split as a run would; every broken image is named."""
    wanted, progress = examined.question.images, examined.question.progress
    count = len(chosen) if wanted is None else min(wanted, len(chosen))
    sample = [chosen[i * len(chosen) // count] for i in range(count)]
    reader, broken = Reader(split, sample, _BLOCK), 0
    told = progress if count >= _LONG else Silent()
    shape: tuple[int, ...] | None = None
    try:
        with stage(told, f"decode {name} images", count, "image") as advance:
            for block in range(-(-count // _BLOCK)):
                batch, unread = reader.read(block)
                shape = tuple(batch.images.shape[1:]) if len(batch) else shape
                for image in unread:
                    broken += 1
                    line, _, expected = image.why.partition("; ")
                    yield _TOPIC.wrong(f"{name} split: {line}", f"{expected}: download this one again", fatal=fatal)
                advance(len(reader.positions(block)))
    except BenchError as error:  # such as an image of another shape
        yield _error(name, error, fatal=fatal)
        return
    of = f"{count:,} images spread over the split" if count < len(chosen) else f"all {count:,} images"
    if broken:
        advice = "check every image with --images all" if count < len(chosen) else "each of them would be an ERROR"
        yield _TOPIC.wrong(f"{name} split: {broken:,} of {of} cannot be read", advice, fatal=fatal)
    yield from _shaped(examined, name, of, shape, fatal=fatal)


def _shaped(
    examined: Examined, name: str, of: str, shape: tuple[int, ...] | None, *, fatal: bool
) -> Iterator[Diagnosis]:
    profile = examined.profile
    if shape is None:
        return
    words, how = " x ".join(map(str, shape)), profile.preprocessing.name
    if shape == profile.image_shape:
        yield _TOPIC.ok(f"{name} split: decoded {of}, {words} after preprocessing {how!r}")
        return
    expected = " x ".join(map(str, profile.image_shape))
    there = f"{name} split: images are {words} after preprocessing {how!r}; the profile has {expected}"
    yield _TOPIC.wrong(there, "choose another --preprocessing", fatal=fatal)

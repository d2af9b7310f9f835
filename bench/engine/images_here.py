"""The images at hand: splits opened for a profile, and the digests of what is judged and trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence

from bench.core.errors import InputError, UnreadableImageError
from bench.core.plugins import Dataset, Defense, Knowledge, Split, Storage, Threat
from bench.core.profile import Profile
from bench.core.registry import registry
from bench.core.spec import Spec
from bench.engine.means import Means
from bench.engine.shards import choose

_BLOCK = 64  # images of a data set from outside that are read at once


class ImagesHere:
    """Digests of the images that Specs select, each computed once in a command.

    Args:
        means: Folder of the data, caches, progress.
    """

    def __init__(self, means: Means) -> None:
        self.means = means
        self._known: dict[object, str] = {}

    def named(self, spec: Spec, ids: Sequence[str] | None) -> Spec:
        """A Spec that names the contents of its images, and of those that its models are trained on.

        Args:
            spec: Without them.
            ids: The ids of its list of images; None if it has no list.

        Raises:
            InputError: if the test images are not here or incomplete, or a listed one is missing.
        """
        return spec.model_copy(
            update={
                "images": self._judged(spec, ids),
                "training": self.training(spec.profile) if _trains(spec) else None,
            }
        )

    def here(self, profile: Profile) -> bool:
        """Whether the images of a profile are here: it needs no folder, or one is given."""
        dataset: Dataset = registry("datasets").make(profile.dataset)
        return self.means.data is not None or not dataset.needs_root

    def whole(self, profile: Profile, name: str) -> str:
        """SHA-256 of all images of a profile's split.

        Raises:
            InputError: if they are not here.
        """
        return self._once(profile, name, lambda split: None)

    def training(self, profile: Profile) -> str | None:
        """SHA-256 of a profile's training images; None if they are not here."""
        try:
            return self.whole(profile, "train")
        except InputError:  # a model may be kept; whoever trains one says what is missing
            return None

    def _judged(self, spec: Spec, ids: Sequence[str] | None) -> str:
        return self._once(
            spec.profile, "test", lambda split: choose(spec, split, ids, in_order=True)[0], spec.ids, spec.limit
        )

    def _once(self, profile: Profile, name: str, select: Callable[[Split], list[int] | None], *about: object) -> str:
        key = (profile.dataset, profile.image_shape, profile.preprocessing, name, *about)
        if key not in self._known:
            split = open_split(profile, name, self.means)
            self._known[key] = digest_of(split, profile, select(split), self.means)
        return self._known[key]


def open_split(profile: Profile, name: str, means: Means) -> Split:
    """A split of a profile's data set.

    Raises:
        InputError: if it cannot be read, or has more classes than the profile.
    """
    dataset: Dataset = registry("datasets").make(profile.dataset)
    storage = Storage(
        means.data, profile.image_shape, profile.preprocessing, means.readers, means.home.indexes, means.verify_data
    )
    split = dataset.split(name, storage)
    classes = max(split.labels) + 1
    if classes > profile.classes:
        raise InputError(f"the data has {classes} classes, profile {profile.name} tells {profile.classes} apart; "
                         f"give --set profile.classes={classes}")  # fmt: skip
    return split


def digest_of(split: Split, profile: Profile, chosen: Sequence[int] | None, means: Means) -> str:
    """SHA-256 of ids, labels and contents of the ``chosen`` images of a split, or of all.

    A split from outside this package is read: its digest is of the pixels and of the data set's code.
    """
    code = registry("datasets").code(profile.dataset)
    if code is None:
        return split.digest(chosen, means.progress)
    found = hashlib.sha256(code.encode())
    everything = range(len(split.ids)) if chosen is None else chosen
    for start in range(0, len(everything), _BLOCK):
        for part in _parts(split, everything[start : start + _BLOCK]):
            found.update(part)
    return found.hexdigest()


def _parts(split: Split, block: Sequence[int]) -> Iterator[bytes]:
    """Ids, labels and pixels of some images; an image that cannot be read has no pixels."""
    yield "\n".join(split.ids[p] for p in block).encode()
    yield "\n".join(str(split.labels[p]) for p in block).encode()
    try:
        yield split.read(block).images.numpy().tobytes()
    except UnreadableImageError:
        for position in block:
            try:
                yield split.read([position]).images.numpy().tobytes()
            except UnreadableImageError:
                yield b"unreadable"


def _trains(spec: Spec) -> bool:
    """Whether a model of a Spec may be trained on the training images."""
    defense: Defense = registry("defenses").make(spec.defense.name, spec.defense.options)
    threat: Threat = registry("threats").make(spec.threat.name, spec.threat.options)
    bases = [base for base in (spec.profile.base, spec.profile.start) if base is not None]
    return (
        (bool(defense.recipe(spec.profile)) and not defense.ready)
        or Knowledge.MECHANISM in threat.knows
        or any(base.recipe is not None for base in bases)
    )

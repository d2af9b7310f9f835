"""The 1,000 classes of ImageNet: a label is the position of the synset in sorted order."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

CLASSES = 1000


@cache
def synset_labels() -> dict[str, int]:
    """Label by synset, from timm's list."""
    return {synset: label for label, synset in enumerate(sorted(_info().label_names()))}


def describer() -> Callable[[int], str]:
    """Description of a class: synset and first word, ``n01440764 (tench)``."""
    synsets, info = list(synset_labels()), _info()

    def describe(label: int) -> str:
        words: str = info.label_name_to_description(synsets[label])
        return f"{synsets[label]} ({words.partition(',')[0]})"

    return describe


@cache
def _info():  # type: ignore[no-untyped-def]
    from timm.data import ImageNetInfo  # noqa: PLC0415 (seconds to import)

    return ImageNetInfo("imagenet-1k")

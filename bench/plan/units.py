"""Adversarial images as units of work that runs share: their source, number, and the cost of making them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from bench.core.budget import Norm
from bench.core.canonical import digest
from bench.core.cost import Calls, Passes
from bench.core.errors import InputError
from bench.core.plugins import Attack, Dataset, Storage
from bench.core.registry import registry
from bench.core.spec import PluginSpec, Spec
from bench.plan.gauge import Work
from bench.plan.measure import Architecture
from bench.plan.types import Asked

# Bytes of a stored value, the most measured for an attack: the table in docs/plan.md. An l1 attack may move all values.
_STORED = {Norm.LINF: 0.33, Norm.L2: 2.6, Norm.L1: 2.6}


@dataclass(frozen=True)
class Unit:
    """Adversarial images that are made once: their source, number, and the work of making them."""

    address: str
    owner: str
    bytes: int
    least: tuple[Work, ...]
    most: tuple[Work, ...] | None


def units_of(spec: Spec, source: str, architecture: Architecture, images: int, title: str) -> list[Unit]:
    """The attacks of a run: its attack, and the fallback on the images returned clean; see candidates.py."""
    if spec.budget.eps == 0:  # radius 0: nothing is attacked
        return []
    size = round(images * torch.Size(spec.profile.image_shape).numel() * _STORED[spec.budget.norm])
    units, before = list[Unit](), ""
    for which in (spec.attack, spec.fallback):
        calls = calls_of(spec, which) if which else None
        if which is None or (units and _never_clean(spec)):
            break
        before = digest([before, _address(spec, which, source, images)])
        least, most = (Passes() if units else calls.least, calls.most) if calls else (Passes(), None)
        units.append(
            Unit(
                before,
                title,
                size,
                (_work(spec, architecture, least, images),),
                None if most is None else (_work(spec, architecture, most, images),),
            )
        )
    return units


def images_of(spec: Spec, asked: Asked) -> int:
    """The number of images that a run judges.

    Raises:
        InputError: if it is unknown.
    """
    if asked.images is not None:
        return min(asked.images, spec.ids.count) if spec.ids else asked.images
    there = spec.ids.count if spec.ids else _of_split(spec, asked)
    if there is None and spec.limit is None:
        raise InputError(f"data set {spec.profile.dataset} does not declare its number of images; expected --images N, "
                         "or --data FOLDER")  # fmt: skip
    return min(n for n in (there, spec.limit) if n is not None)


def _of_split(spec: Spec, asked: Asked) -> int | None:
    profile = spec.profile
    kind: type[Dataset] = registry("datasets").load(profile.dataset)
    if asked.data is not None or not kind.needs_root:
        storage = Storage(asked.data, profile.image_shape, profile.preprocessing)
        return len(registry("datasets").make(profile.dataset).split("test", storage).ids)
    return kind.sizes.get("test")


def calls_of(spec: Spec, which: PluginSpec) -> Calls | None:
    """The attack's own estimate; none if the radius is 0."""
    attack: Attack = registry("attacks").make(which.name, which.options)
    if spec.budget.eps == 0:
        return Calls(Passes(), Passes())
    return attack.calls(spec.profile.classes, spec.budget)


def _never_clean(spec: Spec) -> bool:
    """Whether the attack returns a moved image for every image, so that the fallback has nothing to do."""
    return spec.attack.options.get("keep") == "best" and spec.attack.options.get("mode") == "budget"


def _work(spec: Spec, architecture: Architecture, passes: Passes, images: int) -> Work:
    return Work(architecture, spec.precision, passes.forwards * images, passes.backwards * images, spec.batch_size)


def _address(spec: Spec, which: PluginSpec, source: str, images: int) -> dict[str, Any]:
    """The inputs that determine adversarial images, as far as they are known without them."""
    profile = spec.profile
    attack = registry("attacks").load(which.name)
    return {
        "attack": which.model_dump(mode="json"),
        "budget": str(spec.budget),
        "images": [
            profile.dataset,
            profile.image_shape,
            profile.preprocessing.model_dump(mode="json"),
            spec.ids.sha256 if spec.ids else None,
            images,
            spec.shard_size,
        ],
        "seed": spec.seed,
        "source": source,
        "precision": spec.precision,
        "batch_size": None if attack.per_image else spec.batch_size,
    }

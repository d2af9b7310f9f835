"""Check: the undefended models exist, load, and compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from bench.core.canonical import sha256_of
from bench.core.errors import BenchError, InputError
from bench.core.nouns import Trained
from bench.core.profile import Base
from bench.core.seeds import seed_of
from bench.doctor.examined import Examined
from bench.doctor.finding import Diagnosis, Health, Topic, one_line
from bench.engine.bases import base_model
from bench.models.classifier import backbone
from bench.models.pretrained import find_weights, is_offline
from bench.models.state_files import check_file
from bench.store.models import ModelCache

_TOPIC = Topic("weights")
_NOT_CACHED = "are not in the cache"  # the wording of find_weights if only the network is left
_IMAGES = 2


class _NotKeptError(BenchError):
    """The model would have to be trained."""


class _OnlyKept(ModelCache):
    """A cache that never trains."""

    def fetch(self, made_from: dict[str, Any], build: Callable[[Path], None]) -> tuple[Path, str]:
        """The stored model with the address of ``made_from``.

        Raises:
            _NotKeptError: if there is none.
            CorruptArtifactError: if it is damaged.
        """
        found = self.like(made_from)
        if found is None:
            raise _NotKeptError
        return found


def check(examined: Examined) -> Iterator[Diagnosis]:
    """The base, and the starting model of fine-tuning if it differs."""
    profile = examined.profile
    roles = {"base": profile.base} | ({"start": profile.start} if profile.start else {})
    for role, base in roles.items():
        try:
            found = list(_pretrained(examined, role, base)) if base.pretrained else []
            yield from found
            if base.recipe and all(finding.status is Health.OK for finding in found):
                yield from _kept(examined, role, base)
        except BenchError as error:
            yield _TOPIC.error(error)


def _kept(examined: Examined, role: str, base: Base) -> Iterator[Diagnosis]:
    """A locally trained base, looked up by its address."""
    if examined.question.resources.weights is not None and not base.pretrained:
        raise InputError(f"{role} {base.name} is trained locally from scratch; leave --weights out")
    cache = _OnlyKept(examined.question.home.models)
    try:
        made = base_model(base, examined.profile, examined.training, cache, examined.means)
    except _NotKeptError:
        examined.model_bytes = _size(backbone(base, examined.profile.classes, base.seed))
        steps = f"{base.recipe.steps:,} steps" if base.recipe else ""
        finding = f"{role} {base.name} is not kept: it will be trained when it is first needed, {steps}"
        if examined.profile.train_on_demand:
            yield _TOPIC.ok(finding)
        else:
            yield _TOPIC.warn(finding, "start with `bench train` and the same flags, on a GPU if there is one")
        return
    yield _computes(examined, made, f"{role} {base.name}: kept, digest {made.digest[:12]}")


def _pretrained(examined: Examined, role: str, base: Base) -> Iterator[Diagnosis]:
    """External weights: found without the network, with the pinned digest, and loaded."""
    asked = examined.question
    try:
        path = find_weights(base.name, asked.resources.weights, offline=True)
    except InputError as error:
        finding, _, advice = f"{role}: {one_line(error)}".partition("; ")
        if asked.resources.weights is None and _NOT_CACHED in str(error) and not is_offline(asked.resources.offline):
            finding = finding.replace(" and the network is off", "")
            yield _TOPIC.warn(
                f"{finding}, so a run would download them", "give --weights FILE or FOLDER if there is no network"
            )
        else:
            yield _TOPIC.fail(finding, advice or "give --weights FILE or FOLDER")
        return
    check_file(path)
    made = base_model(base, examined.profile, None, _OnlyKept(asked.home.models), examined.means)
    pinned = "as pinned" if base.sha256 else "not pinned by the profile"
    yield _computes(examined, made, f"{role} {base.name}: {path}, SHA-256 {sha256_of(path)[:12]} {pinned}")


def _computes(examined: Examined, made: Trained, said: str) -> Diagnosis:
    network = cast("nn.Module", made.model)
    examined.model_bytes = max(examined.model_bytes, _size(network))
    with torch.no_grad():
        logits = network(_images(examined))
    classes, finite = examined.profile.classes, bool(logits.isfinite().all())
    if tuple(logits.shape) != (_IMAGES, classes):
        return _TOPIC.fail(f"{said}: logits {tuple(logits.shape)}, expected {(_IMAGES, classes)}", "give other weights")
    if not finite:
        return _TOPIC.fail(f"{said}: logits are not finite", "give other weights; these are damaged")
    millions = sum(p.numel() for p in network.parameters()) / 1e6
    return _TOPIC.ok(
        f"{said}, {millions:.3g} million weights, finite logits of {classes:,} classes on {_IMAGES} images"
    )


def _images(examined: Examined) -> Tensor:
    """Two test images; noise if they cannot be read, which another check reports."""
    try:
        return examined.split("test").read(examined.chosen("test")[:_IMAGES]).images
    except (BenchError, RuntimeError):
        noise = torch.Generator().manual_seed(seed_of(0, "doctor"))
        return torch.rand(_IMAGES, *examined.profile.image_shape, generator=noise)


def _size(network: nn.Module) -> int:
    return sum(t.numel() * t.element_size() for t in network.state_dict().values())

"""The deployment of a submission, built from the local profile and only within what a submitter may cause."""

from __future__ import annotations

import re
from typing import Any

from bench.core.errors import BenchError
from bench.core.key import Key
from bench.core.nouns import Trained
from bench.core.plugins import Defense, Threat
from bench.core.profile import Profile, load_profile, profile_names
from bench.core.registry import registry
from bench.core.spec import Spec
from bench.engine.making import Making
from bench.engine.means import Means
from bench.engine.resolve import defender_key
from bench.engine.versions import code_of
from bench.engine.view import DeclaredView
from bench.engine.world import World
from bench.store.keyring import Keyring
from bench.submissions.limited import CannotError, LimitedCache

# An option of a defense comes from the submitter: no path, no URL, and no number that makes training endless.
_OPTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*(/[0-9]+)?")
_LARGEST = 256
_HARMLESS = {"summary", "budgets", "recipes", "batch_size", "shard_size"}  # do not affect verdicts of a given Spec


def world_of(spec: Spec, means: Means, models: LimitedCache) -> World:
    """The world of a submission's Spec with the built-in profile instead of the submission's.

    Args:
        spec: The submission's.
        means: Device, folders.
        models: Where its models come from.

    Raises:
        CannotError: if it is not available here, with the reason.
    """
    defense = _defense(spec)
    profile = _profile(spec.profile, defense)
    maker = Making(spec.model_copy(update={"profile": profile}), models.bounded(means), models)
    return World(maker, _key(spec, defense, means))


def source_of(world: World, threat: Threat) -> Trained:
    """The source of a built-in threat.

    Raises:
        BenchError: if one of its models is not available, or the threat is third-party.
    """
    if not type(threat).__module__.startswith("bench."):
        raise CannotError("its threat is a third-party plug-in")
    return threat.source(DeclaredView(world, threat))


def _defense(spec: Spec) -> Defense:
    name = spec.defense.name
    if name not in registry("defenses").names():
        raise CannotError(f"defense {name} is not installed here")
    _check_options(spec.defense.options, "spec.defense.options")
    defense: Defense = registry("defenses").make(name, spec.defense.options)
    if code_of("defenses", name, spec.defense.options) != spec.defense.code:
        raise CannotError(f"another version of defense {name} is installed here than the record names")
    if defense.keyed != (spec.key is not None):
        raise CannotError(
            f"defense {name} has {'a key' if defense.keyed else 'no key'} here, but the record says otherwise"
        )
    return defense


def _check_options(value: Any, path: str) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            _check_options(inner, f"{path}.{name}")
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            _check_options(inner, f"{path}.{at}")
    elif isinstance(value, str) and (not _OPTION.fullmatch(value) or ".." in value):
        raise CannotError(f"{path} is a text that may name a file; expected a plain word")
    elif isinstance(value, int | float) and abs(value) > _LARGEST:
        raise CannotError(f"{path} is {value}, more than {_LARGEST}, the limit for models trained in a check")


def _profile(said: Profile, defense: Defense) -> Profile:
    """The local profile, if the submission's agrees in everything that affects a verdict of this defense."""
    if said.name not in profile_names():
        raise CannotError(f"profile {said.name} is not part of this version")
    own = defense.preprocessing()
    mine = load_profile(said.name, {"preprocessing": own} if own else None)
    for name in ("base", "start"):  # a digest of the weights only restricts which weights are accepted
        here, there = getattr(mine, name), getattr(said, name)
        if here and there and here.sha256 is None:
            mine = mine.model_copy(update={name: here.model_copy(update={"sha256": there.sha256})})
    for name in Profile.model_fields:
        if name not in _HARMLESS and getattr(said, name) != getattr(mine, name):
            raise CannotError(f"profile {said.name} has another {name} than this version's")
    if defense.recipe(said) != defense.recipe(mine):
        raise CannotError(f"profile {said.name} trains the defense by another recipe than this version's")
    defense.check(mine)
    return mine


def _key(spec: Spec, defense: Defense, means: Means) -> Key | None:
    if spec.key is None:
        return None
    try:
        return defender_key(spec, Keyring(means.home.keys))
    except BenchError:
        raise CannotError(f"the key {spec.key.fingerprint} is not in the keyring here") from None

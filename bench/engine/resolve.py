"""From a user's request to a Spec in which every default is written out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.core.budget import Budget, parse_eps
from bench.core.canonical import sha256_of
from bench.core.errors import InputError, NotApplicableError
from bench.core.key import Key
from bench.core.nouns import Access, Precision, Protocol
from bench.core.plugins import Attack, Defense, Threat
from bench.core.profile import Base, Profile, load_profile
from bench.core.registry import Registry, registry
from bench.core.selection import IdList, read_ids
from bench.core.spec import KeySpec, Spec
from bench.engine.holders import seeded_key
from bench.engine.images_here import ImagesHere
from bench.engine.job import Job
from bench.engine.request import Request
from bench.engine.two_phases import first_of
from bench.engine.versions import named
from bench.models.pretrained import find_weights, timm_base, timm_shape
from bench.models.state_files import expect_digest
from bench.store.keyring import Keyring

_FALLBACK = "pgd"
_SECTIONS = ("profile", "defense", "threat", "attack", "fallback")


def resolve(request: Request, keyring: Keyring, data: ImagesHere | None = None) -> Job:
    """The evaluation of a request, with every default written out, and the defender's key.

    Args:
        request: What the user asks for.
        keyring: The defender's.
        data: The images at hand, which the Spec names by digest; None for a Spec that is not to be run.

    Raises:
        InputError: if the request cannot be run; nothing has been written then.
    """
    sections = _split(request.settings)
    defense: Defense = registry("defenses").make(request.defense, sections["defense"])
    profile = _profile(request, sections["profile"], defense)
    threat: Threat = registry("threats").make(request.threat, sections["threat"])
    chosen = request.attack or threat.attack
    attack: Attack = registry("attacks").make(chosen, sections["attack"])
    budget = Budget(request.norm, parse_eps(request.eps)) if request.eps else profile.budget(request.norm)
    _check_access(request.threat, threat, chosen, attack)
    _check_norm(chosen, attack, budget)
    _check_precision(chosen, attack, request.precision)
    defense.check(profile)
    fallback = None
    gradients = threat.access is Access.GRADIENTS and attack.needs is Access.GRADIENTS
    if request.protocol is Protocol.STRICT and chosen != _FALLBACK and gradients:
        plugin: Attack = registry("attacks").make(_FALLBACK, sections["fallback"])
        _check_norm(_FALLBACK, plugin, budget)
        fallback = named("attacks", _FALLBACK, plugin)
    key = _key(request, defense, keyring)
    for name, value in (("limit", request.limit), ("batch-size", request.batch_size)):
        if value is not None and value < 1:
            raise InputError(f"--{name} is {value}; expected 1 or more")
    if request.stop_at_precision is not None and not 0 < request.stop_at_precision < 50:
        raise InputError(
            f"--stop-at-precision is {request.stop_at_precision:g}; expected percentage points above 0 and below 50"
        )
    _check_estimate(request, budget)
    if request.judge_device and not defense.keyed:
        raise InputError(f"defense {request.defense} has no key, so no other devices; expected no --judge-device")
    if not 0 <= request.seed < 2**63:
        raise InputError(f"--seed is {request.seed}; expected 0 or more, below 2**63")
    folders = registry("datasets").load(profile.dataset).folders_in_ids
    ids = read_ids(request.ids, folders=folders) if request.ids else None
    spec = Spec(
        profile=profile,
        defense=named("defenses", request.defense, defense),
        threat=named("threats", request.threat, threat),
        attack=named("attacks", chosen, attack),
        fallback=fallback,
        budget=budget,
        protocol=request.protocol,
        precision=request.precision,
        seed=request.seed,
        ids=IdList.of(Path(request.ids).name, ids) if request.ids and ids else None,
        limit=request.limit,
        stop_at=request.stop_at_precision,
        estimate=request.estimate,
        batch_size=request.batch_size or profile.batch_size,
        shard_size=profile.shard_size,
        device=request.judge_device,
        quantize=8 if request.quantize else None,
        key=KeySpec(fingerprint=key.fingerprint, origin="keyring" if request.key else "seed") if key else None,
    )
    if spec.estimate is not None:
        first_of(spec)  # refuses attacks without a first part
    return Job(data.named(spec, ids) if data else spec, key, ids)


def defender_key(spec: Spec, keyring: Keyring) -> Key | None:
    """The key that a Spec identifies by fingerprint, from the seed or from the keyring.

    Raises:
        KeyringError: if the keyring does not have it.
    """
    if spec.key is None:
        return None
    return seeded_key(spec.seed) if spec.key.origin == "seed" else keyring.find(spec.key.fingerprint)


def _profile(request: Request, overrides: dict[str, Any], defense: Defense) -> Profile:
    """The profile with the requested models, and with the digest of local weights."""
    side = load_profile(request.profile, overrides).image_shape[-1] if request.base or request.start else None
    chosen = {
        "preprocessing": request.preprocessing or defense.preprocessing(),
        "base": timm_base(request.base, side) if request.base else None,
        "start": timm_base(request.start, side) if request.start else None,
    }
    overrides = {**{name: value for name, value in chosen.items() if value is not None}, **overrides}
    profile = load_profile(request.profile, overrides)
    for name in (request.base, request.start):
        shape = timm_shape(name) if name else None
        if shape is not None and shape != profile.image_shape:
            raise InputError(f"{name} takes images of {list(shape)}, profile {profile.name} has "
                             f"{list(profile.image_shape)}; give --set profile.image_shape={list(shape)}")  # fmt: skip
    if request.weights is None or defense.ready:
        return profile
    return profile.model_copy(
        update={
            "base": _pinned(profile.base, request.weights),
            "start": _pinned(profile.start, request.weights) if profile.start else None,
        }
    )


def _pinned(base: Base, weights: Path) -> Base:
    """A base with the SHA-256 of its weights file."""
    if base.pretrained is None:
        raise InputError(f"base {base.name} is trained locally from scratch; expected no --weights")
    path = find_weights(base.name, weights, offline=True)
    got = expect_digest(path, base.sha256) if base.sha256 else sha256_of(path)
    return base.model_copy(update={"sha256": got})


def _key(request: Request, defense: Defense, keyring: Keyring) -> Key | None:
    if not defense.keyed:
        if request.key:
            raise InputError(f"defense {request.defense} has no key; expected no --key")
        return None
    return keyring.read(request.key) if request.key else seeded_key(request.seed)


def _check_access(threat_name: str, threat: Threat, name: str, attack: Attack) -> None:
    given, needed = threat.access, attack.needs
    if not given.gives(needed):
        raise InputError(f"attack {name} needs {needed} of its source, threat {threat_name} gives {given}; expected "
                         f"--attack {' or '.join(attacks_with(given))}")  # fmt: skip


def attacks_with(given: Access) -> list[str]:
    """Names of the attacks that need no more of their source than ``given``."""
    kind = registry("attacks")
    return [name for name in _loadable(kind) if given.gives(kind.load(name).needs)]


def _loadable(kind: Registry[Attack]) -> list[str]:
    """Names of the plug-ins that can be imported."""
    return [entry.name for entry in kind.describe() if entry.error is None]


def _check_norm(name: str, attack: Attack, budget: Budget) -> None:
    if budget.norm not in attack.norms:
        known = ", ".join(sorted(attack.norms))
        others = [n for n in _loadable(registry("attacks")) if budget.norm in registry("attacks").load(n).norms]
        hint = f", or --attack {' or '.join(others)}" if others else ""
        raise NotApplicableError(f"attack {name} does not support norm {budget.norm}; expected one of {known}{hint}")


def _check_estimate(request: Request, budget: Budget) -> None:
    if request.estimate is None:
        return
    if not 0 < request.estimate < 50:
        raise InputError(f"--estimate is {request.estimate:g}; expected percentage points above 0 and below 50")
    for flag, given in (("stop-at-precision", request.stop_at_precision), ("quantize", request.quantize)):
        if given is not None:
            raise InputError(f"--estimate cannot be combined with --{flag}; expected one of the two")
    if budget.eps == 0:
        raise InputError("--estimate samples the survivors of an attack, and eps is 0; expected a full run")


def _check_precision(name: str, attack: Attack, precision: Precision) -> None:
    known = attack.precisions
    if precision not in known:
        raise InputError(f"attack {name} does not support {precision}; expected one of {', '.join(sorted(known))}")


def _split(settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    out: dict[str, dict[str, Any]] = {section: {} for section in _SECTIONS}
    for dotted, value in settings.items():
        section, dot, rest = dotted.partition(".")
        if section not in out or not dot:
            raise InputError(f"setting {dotted!r} is not SECTION.NAME; expected a section of {', '.join(_SECTIONS)}, "
                             "e.g. defense.block_size=8")  # fmt: skip
        out[section][rest] = value
    return out

"""Runs that were never made: valid records with verdicts, for whoever needs many of them, or odd ones."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from bench.checks.statistics import interval
from bench.core.canonical import digest
from bench.core.frozen import Frozen
from bench.core.key import Key
from bench.core.known_images import order_of
from bench.core.nouns import Outcome, Precision, Protocol
from bench.core.profile import load_profile
from bench.core.registry import registry
from bench.core.selection import IdList
from bench.core.spec import KeySpec, PluginSpec, Spec
from bench.engine.declared import adversary_about, changed_of, recipe_of
from bench.store.evidence import Evidence
from bench.store.record import Cost, Digests, Found, Metrics, Provenance, Record, effective_tier, reasons_against
from bench.store.runs import RunStore
from bench.store.verdicts import Row, images_digest, rows_digest


class Threat(Frozen):
    """A threat with an attack and how much it takes from a keyed defense, 0 to 1."""

    name: str
    attack: str
    force: float
    options: dict[str, Any] = Field(default_factory=dict)
    attack_options: dict[str, Any] = Field(default_factory=dict)


FULL = {"mode": "budget"}
LADDER = (
    Threat(name="non-adaptive", attack="autoattack", force=0.2, attack_options=FULL),
    Threat(name="non-adaptive", attack="transfer", force=0.35),
    Threat(name="adaptive", attack="autoattack", force=0.3, attack_options=FULL),
    Threat(name="adaptive", attack="transfer", force=0.45),
    Threat(name="cross-key", attack="autoattack", force=0.5),
    Threat(name="query-score", attack="square", force=0.6),
    Threat(name="distillation", attack="autoattack", force=0.65, options={"query_budget": 1000}),
    Threat(name="leaked-weights", attack="autoattack", force=0.8, options={"how": "key-search"}),
    Threat(name="white-box", attack="autoattack", force=0.97),
)
DEFENSES = (
    ("plain", {}),
    ("key-lora", {"block_size": 4}),
    ("key-full", {"block_size": 4}),
    ("key-lora", {"block_size": 8, "rank": 8}),
    ("robustbench", {"model": "Liu2023Comprehensive_Swin-L"}),
)
WORLDS = (
    ("digits", "linf", "1/10", 300),
    ("cifar10", "linf", "8/255", 500),
    ("imagenet", "linf", "4/255", 1000),
    ("digits", "l2", "3/2", 300),
    ("imagenet", "l2", "1/2", 500),
    ("digits", "linf", "1/20", 300),
    ("cifar10", "linf", "4/255", 500),
)
CURVE = ("0", "1/100", "1/40", "1/16")
CURVED = (("digits", "1/10"), ("digits", "3/2"), ("cifar10", "8/255"), ("imagenet", "4/255"), ("imagenet", "1/2"))
ROBUST = [Outcome.ROBUST, Outcome.FOOLED, Outcome.MISCLASSIFIED, Outcome.ERROR]


def run(
    *,
    profile: str = "digits",
    defense: str = "key-lora",
    options: dict[str, Any] | None = None,
    threat: str = "non-adaptive",
    threat_options: dict[str, Any] | None = None,
    attack: str = "autoattack",
    attack_options: dict[str, Any] | None = None,
    protocol: str = "strict",
    norm: str = "linf",
    eps: str = "1/10",
    images: int = 50,
    first: int = 0,
    robust: float | Any = 0.5,
    clean: float = 0.98,
    source: float = 0.95,
    errors: int = 0,
    against: tuple[str, ...] = (),
    seed: int = 0,
    device: int = 0,
    own: bool = False,
    stop_at: float | None = None,
    overrides: dict[str, Any] | None = None,
) -> Evidence:
    """One run.

    Args:
        profile: A profile's name, changed by ``overrides``.
        defense: A plug-in's name with ``options``; threat and attack likewise.
        threat: See ``defense``.
        attack: See ``defense``.
        images: How many, from the data set's image number ``first`` on.
        robust: A share, or for each image whether it stands; images that are wrong on clean never do.
        clean: Share of images, the first ones, that the target gets right.
        source: The same of the source.
        errors: The last so many images are ERROR.
        against: Checks of the audit that failed, as a record words it: "unreliable: CHECK: MEANING".
        seed: Decides the key and the target of a keyed defense.
        own: The adversary's source is the target.
        stop_at: In percentage points.
    """
    facing, by = (threat, threat_options), (attack, attack_options)
    spec = _spec(profile, defense, options, facing, by, protocol, f"{norm}:{eps}", seed, device, images, stop_at,
                 overrides)  # fmt: skip
    rows = _rows(spec, first, images, robust, clean, source, errors)
    return Evidence(_record(spec, rows, own, against), rows)


def evidence(n: int, *, images: int | None = None, keys: int = 3) -> list[Evidence]:
    """``n`` different runs: ladders of several defenses, keys, budgets and profiles, both protocols, curves, odd ones.

    Args:
        n: How many.
        images: Of each run; each profile's own number where it is None.
        keys: Deployments of a keyed defense.
    """
    return list(islice(_runs(images, keys), n))


def write(results: Path, n: int, *, images: int | None = None) -> list[str]:
    """``n`` runs as folders of a results folder; their ids."""
    store, made = RunStore(results), evidence(n, images=images)
    for e in made:
        store.run(e.record.run_id).finish(e.record, list(e.rows))
    return [e.record.run_id for e in made]


def _runs(images: int | None, keys: int) -> Iterator[Evidence]:
    for turn in count():
        for (profile, norm, eps, size), (defense, options) in _pairs():
            if (profile != "imagenet") and defense == "robustbench":
                continue
            shared = {"profile": profile, "norm": norm, "images": images or size, "defense": defense,
                      "options": options}  # fmt: skip
            for device in range(keys if defense.startswith("key") else 1):
                yield from _deployment(shared, eps, device, turn)


def _pairs() -> Iterator[tuple[Any, Any]]:
    """Every world with every defense, changing both from one to the next."""
    for start in range(len(DEFENSES)):
        for turn, world in enumerate(WORLDS):
            yield world, DEFENSES[(start + turn) % len(DEFENSES)]


def _deployment(shared: dict[str, Any], eps: str, device: int, turn: int) -> Iterator[Evidence]:
    keyed = shared["defense"].startswith("key")
    shared = {**shared, "seed": turn, "device": device}
    for step in LADDER:
        own = step.name == "white-box" or (not keyed and step.name in {"adaptive", "non-adaptive"})
        if not keyed and step.name in {"cross-key", "leaked-weights"}:
            continue
        force = 1.0 if own and shared["defense"] == "plain" else step.force
        weak = step.name == "distillation" and device == 1
        common = {**shared, "threat": step.name, "threat_options": step.options, "attack": step.attack,
                  "attack_options": step.attack_options, "own": own}  # fmt: skip
        common["source"] = 0.3 if weak else 0.95
        yield run(**common, eps=eps, robust=1 - force)
        if step.name in {"non-adaptive", "adaptive"} and step.attack == "autoattack":
            yield run(**common, eps=eps, robust=1 - force / 2, protocol="paper")
        if step.name == "non-adaptive" and step.attack == "autoattack" and device == 0:
            for share, radius in enumerate(CURVE if (shared["profile"], eps) in CURVED else ()):
                yield run(**common, eps=radius, robust=1 - force * share / 3)
        if step.name == "query-score" and device == 2 and shared["defense"] == "key-full":
            yield run(**{**common, "attack": "rays", "threat": "query-decision", "threat_options": None},
                      eps=eps, robust=0.4, errors=3)  # fmt: skip


@cache
def _options(kind: str, name: str, given: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    return dict(registry(kind).make(name, dict(given)).options())


def _plugin(kind: str, name: str, given: dict[str, Any] | None = None) -> PluginSpec:
    return PluginSpec(name=name, options=_options(kind, name, tuple((given or {}).items())))


def _spec(
    profile, defense, options, threat, attack, protocol, budget, seed, device, images, stop_at, overrides
) -> Spec:
    world = _profile(profile, tuple((overrides or {}).items()))
    keyed = registry("defenses").load(defense).keyed
    key = KeySpec(fingerprint=Key.from_seed(seed, "defender").fingerprint, origin="seed") if keyed else None
    return Spec(
        profile=world,
        defense=_plugin("defenses", defense, options),
        threat=_plugin("threats", *threat),
        attack=_plugin("attacks", *attack),
        fallback=None,
        budget=budget,
        protocol=Protocol(protocol),
        precision=Precision.FP32,
        seed=seed,
        ids=IdList.of("synthetic", ["all"]) if stop_at else None,
        limit=images,
        stop_at=stop_at,
        batch_size=100,
        shard_size=100,
        device=device,
        key=key,
    )


@cache
def _profile(name: str, overrides: tuple[tuple[str, Any], ...]) -> Any:
    return load_profile(name, dict(overrides))


def _rows(spec: Spec, first: int, n: int, robust: Any, clean: float, source: float, errors: int) -> tuple[Row, ...]:
    """Images have a difficulty of their own, so that runs agree with each other more than by chance."""
    right, known = np.arange(n) < round(clean * n), np.arange(n) < round(source * n)
    if np.ndim(robust) == 0:
        own = np.random.default_rng(int(digest([spec.run_id])[:12], 16)).random(n)
        hard = np.random.default_rng([first, n]).random(n)
        stands = np.zeros(n, bool)
        stands[np.argsort(0.7 * hard + 0.3 * own + ~right)[: round(float(robust) * n)]] = True
    else:
        stands = np.asarray(robust, bool)
    if spec.budget.eps == 0:
        stands = right
    classes, paper, still = spec.profile.classes, spec.protocol is Protocol.PAPER, spec.budget.eps == 0
    out = []
    for i, label, image, sha in _images(spec.profile.dataset, first, n, classes):
        outcome = ROBUST[0] if right[i] and stands[i] else ROBUST[1] if right[i] else ROBUST[2]
        outcome = ROBUST[3] if i >= n - errors else outcome
        wrong = (label + 1) % classes
        out.append(
            Row(
                image_id=image,
                label=label,
                clean_prediction=label if right[i] else wrong,
                adversarial_prediction=label if outcome is Outcome.ROBUST else None if i >= n - errors else wrong,
                outcome=outcome,
                distance=None if i >= n - errors else 0.0,
                attack="none" if still or (paper and not known[i]) else spec.attack.name,
                source_prediction=label if known[i] else wrong,
                image_sha256=sha,
            )
        )
    return tuple(out)


@cache
def _images(dataset: str, first: int, n: int, classes: int) -> list[tuple[int, int, str, str]]:
    known = order_of(dataset) or ()
    names = known[first : first + n] if first + n <= len(known) else [f"{dataset}-{first + i:05d}" for i in range(n)]
    return [(i, (first + i) % classes, name, digest(name)) for i, name in enumerate(names)]


def _record(spec: Spec, rows: tuple[Row, ...], own: bool, against: tuple[str, ...]) -> Record:
    doubts = [text.split(": ", 2) for text in against if text.startswith("unreliable: ")]
    audit = [Found(check="outputs", status="pass", figure=1.0, meaning="finite logits")]
    audit += [Found(check=check, status="fail", figure=0.0, meaning=meaning) for _, check, meaning in doubts]
    keyed = None if spec.key is None else [spec.key.fingerprint, spec.device]
    target = digest(["target", spec.profile.name, spec.defense.model_dump(mode="json"), keyed])
    adversary = [spec.threat.model_dump(mode="json"), spec.seed]
    about = adversary_about(registry("threats").make(spec.threat.name, spec.threat.options), spec.attack)
    digests = Digests(
        data=_data(spec.profile.dataset, rows[0].image_id, len(rows), rows),
        target=target,
        source=target if own else digest(["source", target, adversary]),
        verdicts=rows_digest(rows),
    )
    metrics = _metrics(rows)
    reasons = reasons_against(spec, metrics, audit)
    return Record(
        run_id=spec.run_id,
        spec=spec,
        tier=effective_tier(spec, about, digests),
        adversary=about,
        changed=changed_of(spec),
        recipe=recipe_of(spec.defense),
        metrics=metrics,
        eligible=not reasons,
        ineligible_because=reasons,
        notes=["synthetic: made for a test, nothing was measured"],
        warnings=[],
        audit=audit,
        reliable=not doubts,
        population=len(rows),
        digests=digests,
        cost=_cost(len(rows)),
        provenance=_provenance(),
    )


_DATA: dict[tuple[str, str, int], str] = {}


def _data(dataset: str, first: str, n: int, rows: tuple[Row, ...]) -> str:
    key = dataset, first, n
    if key not in _DATA:
        _DATA[key] = images_digest(list(rows))
    return _DATA[key]


def _metrics(rows: tuple[Row, ...]) -> Metrics:
    n = len(rows)
    outcomes = {outcome: sum(row.outcome is outcome for row in rows) for outcome in Outcome}
    return Metrics(
        images=n,
        clean_accuracy=sum(row.clean_prediction == row.label for row in rows) / n,
        robust_accuracy=outcomes[Outcome.ROBUST] / n,
        robust_accuracy_interval=interval(outcomes[Outcome.ROBUST], n),
        source_clean_accuracy=sum(row.source_prediction == row.label for row in rows) / n,
        target_alone=sum(row.clean_prediction == row.label != row.source_prediction for row in rows),
        source_alone=sum(row.source_prediction == row.label != row.clean_prediction for row in rows),
        outcomes=outcomes,
    )


def _cost(n: int) -> Cost:
    return Cost(
        parts=[], source_forwards=100 * n, source_backwards=100 * n, images_per_second=None, flops_forward=1,
        flops_backward=1, peak_flops=None, mfu=None, attack_seconds=1.0, total_seconds=1.0, shards=1, shards_resumed=0,
        shards_reused=0,
    )  # fmt: skip


def _provenance() -> Provenance:
    return Provenance(
        started="2000-01-01T00:00:00+00:00", command="bench run", versions={"keybench": "0"}, git_commit=None,
        git_dirty=None, platform="none", device="cpu", precision="fp32", threads=1, key_name=None,
    )  # fmt: skip

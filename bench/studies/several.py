"""One evaluation for each of several keys: key and training seed are random effects."""

from __future__ import annotations

from dataclasses import replace

from bench.checks.statistics import across_keys
from bench.core.canonical import digest
from bench.core.errors import InputError
from bench.core.nouns import Outcome
from bench.core.selection import read_ids
from bench.engine.evaluate import evaluate
from bench.engine.means import Means
from bench.engine.resolve import Request, resolve
from bench.store.keyring import Keyring
from bench.store.record import Record
from bench.store.several import KeyRun, KeysRecord


def evaluate_keys(request: Request, keys: int, keyring: Keyring, means: Means) -> KeysRecord:
    """Evaluate deployments of seeds ``request.seed``, + 1, ... and put their verdicts together.

    Args:
        request: What to evaluate; its seed is the first.
        keys: How many deployments.
        keyring: The defender's.
        means: Device, folders, who is told.

    Raises:
        InputError: a named key, an early end, or a defense without a key.
    """
    if request.key:
        raise InputError(f"--key names one key and --keys asks for {keys}; expected one of the two")
    if request.stop_at_precision:
        raise InputError(
            "--keys compares the same images, --stop-at-precision ends runs at others; expected one of the two"
        )
    runs: list[Record] = []
    robust: list[list[bool]] = []
    for seed in range(request.seed, request.seed + keys):
        spec, key = resolve(replace(request, seed=seed), keyring)
        if key is None:
            raise InputError(f"defense {request.defense} has no key; expected no --keys")
        means.progress.note(f"key {seed - request.seed + 1} of {keys}: seed {seed}")
        record, _ = evaluate(spec, key, means, read_ids(request.ids) if request.ids else None)
        rows = means.results.run(record.run_id).read()[1]
        runs.append(record)
        robust.append([row.outcome is Outcome.ROBUST for row in rows])
    found = across_keys(robust, seed=request.seed)
    first = runs[0]
    return KeysRecord(
        keys_id=digest(["keys", [record.run_id for record in runs]])[:16],
        defense=first.spec.defense,
        threat=first.spec.threat,
        attack=first.spec.attack,
        budget=first.spec.budget,
        images=first.metrics.images,
        runs=[_run(record) for record in runs],
        mean=found.mean,
        interval=found.interval,
        bootstrap=found.bootstrap,
        minimum=found.minimum,
        minimum_interval=found.minimum_interval,
        eligible=all(record.eligible for record in runs),
    )


def _run(record: Record) -> KeyRun:
    metrics = record.metrics
    return KeyRun(
        run_id=record.run_id,
        seed=record.spec.seed,
        clean_accuracy=metrics.clean_accuracy,
        robust_accuracy=metrics.robust_accuracy,
        interval=metrics.robust_accuracy_interval,
    )

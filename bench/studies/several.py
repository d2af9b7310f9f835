"""One evaluation per key: key and training seed are random effects."""

from __future__ import annotations

from dataclasses import replace

from bench.checks.statistics import across_keys
from bench.core.canonical import digest
from bench.core.errors import InputError
from bench.engine.evaluate import run
from bench.engine.images_here import ImagesHere
from bench.engine.means import Means
from bench.engine.request import Request
from bench.engine.resolve import resolve
from bench.store.keyring import Keyring
from bench.store.run import Run
from bench.store.several import KeyRun, KeysRecord


def evaluate_keys(request: Request, keys: int, keyring: Keyring, means: Means) -> KeysRecord:
    """Evaluate deployments with seeds ``request.seed``, + 1, ... and combine their verdicts.

    Args:
        request: The evaluation; its seed is the first.
        keys: Number of deployments.
        keyring: The defender's.
        means: Device, folders, progress.

    Raises:
        InputError: for a named key, early stopping, or a defense without a key.
    """
    if request.key:
        raise InputError(f"--key names one key and --keys asks for {keys}; expected one of the two")
    if request.stop_at_precision:
        raise InputError(
            "--keys compares the same images, --stop-at-precision ends runs at others; expected one of the two"
        )
    if request.estimate:
        raise InputError(
            "--keys compares verdicts image by image, --estimate has them on a sample; expected one of both"
        )
    runs: list[Run] = []
    data = ImagesHere(means)
    for seed in range(request.seed, request.seed + keys):
        job = resolve(replace(request, seed=seed), keyring, data)
        if job.key is None:
            raise InputError(f"defense {request.defense} has no key; expected no --keys")
        means.progress.note(f"key {seed - request.seed + 1} of {keys}: seed {seed}")
        runs.append(run(job, means))
    found = across_keys([list(one.robust.values()) for one in runs], seed=request.seed)
    first = runs[0].record
    return KeysRecord(
        keys_id=digest(["keys", [one.id for one in runs]])[:16],
        defense=first.spec.defense,
        threat=first.spec.threat,
        attack=first.spec.attack,
        budget=first.spec.budget,
        images=first.metrics.images,
        runs=[_deployment(one) for one in runs],
        mean=found.mean,
        interval=found.interval,
        bootstrap=found.bootstrap,
        minimum=found.minimum,
        minimum_interval=found.minimum_interval,
        eligible=all(one.record.eligible for one in runs),
    )


def _deployment(one: Run) -> KeyRun:
    return KeyRun(
        run_id=one.id,
        seed=one.record.spec.seed,
        clean_accuracy=one.clean_accuracy,
        robust_accuracy=one.robust_accuracy,
        interval=one.interval,
    )

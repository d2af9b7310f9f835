"""`bench train`: train keyed models before their evaluation."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from bench.cli.session import working
from bench.cli.takes import JsonFlag, takes
from bench.core.flags import Flag
from bench.engine.request import Request, Resources

if TYPE_CHECKING:
    from bench.engine.deploy import Deployed


@takes(
    Request,
    Resources,
    only=("defense", "profile", "seed", "key", "base", "start", "weights", "settings", "data", "offline", "readers",
          "device", "rebuild", "verify_data"),
    fixed={"threat": "white-box", "train": True},
    examples=(
        "bench train --defense key-lora --substitutes 1",
        "accelerate launch -m bench train --defense key-full --profile imagenet --data /data/imagenet --device cuda",
    ),
)  # fmt: skip
def train(
    request: Request,
    resources: Resources,
    keys: Annotated[int, Flag("Number of deployments, with seeds SEED, SEED + 1, ..., e.g. 5.", least=1)] = 1,
    substitutes: Annotated[int, Flag("Also train this many substitutes of an adversary, e.g. 1.", least=0)] = 0,
    siblings: Annotated[int, Flag("Also train this many other devices of the same maker, e.g. 2.", least=0)] = 0,
    subset: Annotated[
        float | None, Flag("Share of the training images of every class, e.g. 0.1. Default: the recipe's.")
    ] = None,
    micro_batch: Annotated[
        int | None, Flag("Images per forward pass on one device, e.g. 64. Default: the whole batch.", least=1)
    ] = None,
    checkpoint_every: Annotated[int, Flag("Steps between checkpoints, e.g. 500.", least=1)] = 500,
    tensorboard: Annotated[bool, Flag("Write TensorBoard files next to log.csv.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Fine-tune keyed models before their evaluation; an interrupted training resumes with the same command."""
    from bench.core.errors import InputError
    from bench.core.plugins import TrainingMeans
    from bench.engine.deploy import train_models
    from bench.engine.means import spare_cores
    from bench.engine.resolve import resolve
    from bench.store.keyring import Keyring
    from bench.training.processes import join, leads

    if request.key and keys > 1:
        raise InputError(f"--key names one key and --keys asks for {keys}; expected one of the two")
    join(resources.device)
    training = TrainingMeans(
        micro_batch=micro_batch,
        workers=spare_cores() if resources.readers is None else resources.readers,
        checkpoint_every=checkpoint_every,
        tensorboard=tensorboard,
    )
    asked = replace(request, settings={**request.settings, **_subset(request.defense, subset)})
    made: list[Deployed] = []
    with working(resources, key_name=request.key, training=training, quiet=not leads()) as means:
        for seed in range(request.seed, request.seed + keys):
            job = resolve(replace(asked, seed=seed), Keyring(means.home.keys))
            made += train_models(job.spec, job.key, means, substitutes=substitutes, siblings=siblings)
    if leads():
        _print(made, as_json=as_json)


def _subset(defense: str, share: float | None) -> dict[str, float]:
    """The setting that trains on a share of the images.

    Raises:
        InputError: if the defense is not trained on images.
    """
    from bench.core.errors import InputError
    from bench.core.registry import registry

    if share is None:
        return {}
    tuning = registry("defenses").load(defense).tuning
    if tuning is None:
        raise InputError(f"defense {defense} is not trained on images; expected no --subset")
    return {f"profile.recipes.{tuning}.subset": share}


def _print(made: list[Deployed], *, as_json: bool) -> None:
    from dataclasses import asdict

    from rich.table import Table

    from bench.cli.console import make_console

    if as_json:
        sys.stdout.write(json.dumps([asdict(m) for m in made], indent=2, default=str) + "\n")
        return
    table = Table("model", "seed", "key", "digest", "seconds", "log")
    for m in made:
        cells = (m.role, str(m.seed), m.fingerprint or "", m.digest[:12], f"{m.seconds:.1f}")
        table.add_row(*cells, str(m.log) if m.log else "kept already")
    make_console().print(table)

"""`bench run`: one evaluation."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

from bench.cli.session import ended, working
from bench.cli.takes import JsonFlag, takes
from bench.core.flags import Flag
from bench.engine.request import Request, Resources

if TYPE_CHECKING:
    from bench.engine.means import Means


KeysField = Annotated[int, Flag("Number of deployments, with seeds SEED, SEED + 1, ..., e.g. 5.", least=1)]


@takes(
    Request,
    Resources,
    examples=(
        "bench run --defense key-lora --threat adaptive",
        "bench run --defense plain --threat white-box --attack pgd --eps 4/255 --limit 100",
        "bench run --defense key-full --threat adaptive --set defense.block_size=8 --json",
    ),
)
def run(
    request: Request,
    resources: Resources,
    keys: KeysField = 1,
    as_json: JsonFlag = False,
) -> None:
    """Attack one defense under one threat model and judge every image."""
    from bench.cli.show import print_record
    from bench.engine.evaluate import run as evaluate
    from bench.engine.images_here import ImagesHere
    from bench.engine.resolve import resolve
    from bench.store.eligibility import only_estimated
    from bench.store.keyring import Keyring

    with working(resources, key_name=request.key) as means:
        job = resolve(request, Keyring(means.home.keys), ImagesHere(means))
        if job.spec.budget.doubt:
            means.progress.note(f"warning: {job.spec.budget.doubt}")
        if keys > 1:
            _several(request, keys, means, as_json=as_json)
            return
        made = evaluate(job, means)
        if made.complete:
            means.progress.note("this run was complete already; its record is shown (nothing was attacked again)")
    print_record(made.record, means.results, as_json=as_json)
    ended(well=made.record.eligible or only_estimated(made.record.ineligible_because))


def _several(request: Request, keys: int, means: Means, *, as_json: bool) -> None:
    """One run per deployment, and their combined result."""
    from bench.cli.show import print_keys
    from bench.store.keyring import Keyring
    from bench.store.several import write_keys
    from bench.studies.several import evaluate_keys

    record = evaluate_keys(request, keys, Keyring(means.home.keys), means)
    path = write_keys(means.results.root, record)
    if as_json:
        sys.stdout.write(record.model_dump_json(indent=2) + "\n")
    else:
        print_keys(record, path)
    ended(well=record.eligible)

"""`bench audit`: whether an evaluation of this defense can be trusted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from bench.cli.session import ended, working
from bench.cli.takes import JsonFlag, takes
from bench.core.flags import Flag
from bench.engine.request import Request, Resources

if TYPE_CHECKING:
    from bench.store.audits import AuditRecord


@takes(
    Request,
    Resources,
    without=(
        "protocol",
        "limit",
        "stop_at_precision",
        "estimate",
        "batch_size",
        "precision",
        "judge_device",
        "quantize",
        "ids",
        "backend",
        "address",
    ),
    fixed={"threat": "white-box", "attack": "pgd"},
    examples=("bench audit --defense key-lora",),
)
def audit(
    request: Request,
    resources: Resources,
    images: Annotated[
        int, Flag("Number of test images, selected by the seed, and of training images.", env="BENCH_AUDIT_IMAGES")
    ] = 64,
    as_json: JsonFlag = False,
) -> None:
    """Look for signs that the figures overestimate a defense; exit code 1 if a check fails."""
    from bench.engine.resolve import resolve
    from bench.store.keyring import Keyring
    from bench.studies.audit import audit as examine

    with working(resources, key_name=request.key) as means:
        job = resolve(request, Keyring(means.home.keys))
        if job.spec.budget.doubt:
            means.progress.note(f"warning: {job.spec.budget.doubt}")
        record = examine(job, means, images)
    _print(record, resources.results, as_json=as_json)
    ended(well=record.reliable)


def _print(record: AuditRecord, results: Path, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(record.model_dump_json(indent=2) + "\n")
        return
    from rich.table import Table

    from bench.cli.console import make_console
    from bench.store.audits import audit_path

    console, spec = make_console(), record.spec
    title = f"audit {record.audit_id}: {spec.defense.name}, {spec.profile.name}, {spec.budget}, {spec.images} images"
    table = Table("check", "status", "figure", "meaning", title=title, title_justify="left")
    for found in record.findings:
        figure = "" if found.figure is None else f"{found.figure:.3g}"
        table.add_row(found.check, found.status, figure, found.meaning)
    console.print(table)
    if record.answers:
        table = Table("against", "attack", "before", "after", "meaning", title="adaptive attacks",
                      title_justify="left")  # fmt: skip
        for a in record.answers:
            table.add_row(a.check, a.remedy, f"<= {a.before:.1%}", f"<= {a.after:.1%}", a.meaning)
        console.print(table)
    for text in record.notes:
        console.print(f"note: {text}", markup=False)
    failed = [found.check for found in record.failed]
    warned = sum(found.status == "warn" for found in record.findings)
    verdict = f"unreliable: {', '.join(failed)} failed" if failed else f"no check failed, {warned} warned"
    console.print(f"verdict: {verdict}; {audit_path(results, record.audit_id)}", markup=False, soft_wrap=True)

"""`bench audit`: can an evaluation of this defense be trusted?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.config import ConfigOption, SetOption, parse_settings
from bench.cli.options import (
    BaseOption,
    DataOption,
    DeviceOption,
    JsonOption,
    KeyOption,
    OfflineOption,
    PreprocessingOption,
    ProfileOption,
    RebuildOption,
    ResultsOption,
    SeedOption,
    StartOption,
    WeightsOption,
    WorkersOption,
)

if TYPE_CHECKING:
    from bench.store.audits import AuditRecord


def audit(
    defense: Annotated[str, typer.Option(envvar="BENCH_DEFENSE", help="What is audited; see `bench list defenses`.")],
    profile: ProfileOption = "digits",
    norm: Annotated[str, typer.Option(envvar="BENCH_NORM", help="linf, l2 or l1.")] = "linf",
    eps: Annotated[
        str | None, typer.Option(envvar="BENCH_EPS", help="Radius on the [0, 1] pixel scale, e.g. 4/255.")
    ] = None,
    images: Annotated[
        int, typer.Option(envvar="BENCH_IMAGES", help="So many test images, drawn by the seed, and as many to train.")
    ] = 64,
    key: KeyOption = None,
    seed: SeedOption = 0,
    data: DataOption = None,
    preprocessing: PreprocessingOption = None,
    base: BaseOption = None,
    start: StartOption = None,
    weights: WeightsOption = None,
    offline: OfflineOption = False,
    workers: WorkersOption = None,
    train: Annotated[
        bool, typer.Option(envvar="BENCH_TRAIN", help="Train missing models now, also where that takes hours.")
    ] = False,
    settings: SetOption = None,
    results: ResultsOption = "results",
    device: DeviceOption = "cpu",
    rebuild: RebuildOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look for every sign that figures of a defense flatter it; exit code 1 if a check fails."""
    from bench.cli.means import make_means
    from bench.cli.progress import listener
    from bench.core.budget import parse_norm
    from bench.engine.resolve import Request, resolve
    from bench.store.home import Home
    from bench.store.keyring import Keyring
    from bench.studies.audit import audit as examine

    request = Request(
        defense=defense,
        threat="white-box",
        attack="pgd",
        profile=profile,
        norm=parse_norm(norm),
        eps=eps,
        seed=seed,
        key=key,
        preprocessing=preprocessing,
        base=base,
        start=start,
        weights=Path(weights) if weights else None,
        settings=parse_settings(settings or []),
    )
    with listener() as progress:
        job = resolve(request, Keyring(Home.default().keys))
        if job.spec.budget.doubt:
            progress.note(f"warning: {job.spec.budget.doubt}")
        means = make_means(
            results,
            device,
            progress,
            data=data,
            weights=weights,
            offline=offline,
            workers=workers,
            train=train,
            rebuild=rebuild,
            key_name=key,
        )
        record = examine(job, means, images)
    _print(record, Path(results), as_json=as_json)
    sys.stdout.flush()
    if not record.reliable:
        raise typer.Exit(1)


def _print(record: AuditRecord, results: Path, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(record.model_dump_json(indent=2) + "\n")
        return
    from rich.table import Table

    from bench.cli.console import make_console
    from bench.store.audits import audit_path

    console, spec = make_console(), record.spec
    title = f"audit {record.audit_id}: {spec.defense.name}, {spec.profile.name}, {spec.budget}, {spec.images} images"
    table = Table("check", "status", "figure", "what it means", title=title, title_justify="left")
    for found in record.findings:
        figure = "" if found.figure is None else f"{found.figure:.3g}"
        table.add_row(found.check, found.status, figure, found.meaning)
    console.print(table)
    if record.answers:
        table = Table("against", "attack", "before", "after", "what it means", title="adaptive answers",
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

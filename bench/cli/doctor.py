"""`bench doctor`: would a run go through, and if not, what to do."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

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
    ResultsOption,
    StartOption,
    WeightsOption,
)


def doctor(
    profile: ProfileOption = "digits",
    data: DataOption = None,
    weights: WeightsOption = None,
    offline: OfflineOption = False,
    key: KeyOption = None,
    results: ResultsOption = "results",
    device: DeviceOption = "cpu",
    base: BaseOption = None,
    start: StartOption = None,
    preprocessing: PreprocessingOption = None,
    limit: Annotated[
        int | None, typer.Option(envvar="BENCH_LIMIT", help="A run over the first so many images is meant.")
    ] = None,
    ids: Annotated[str | None, typer.Option(envvar="BENCH_IDS", help="A run over a list of ids is meant.")] = None,
    images: Annotated[
        str, typer.Option(envvar="BENCH_IMAGES", help="So many images of each split are decoded; all for every one.")
    ] = "64",
    manifest: Annotated[
        str | None,
        typer.Option(envvar="BENCH_MANIFEST", help="Write counts, images by class and digests to this file."),
    ] = None,
    settings: SetOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look at all that a run would need; takes its flags, trains nothing, exit code 1 if it would fail."""
    from bench.cli.progress import listener
    from bench.doctor.examine import examine
    from bench.doctor.examined import Question
    from bench.doctor.finding import Diagnosis, Health
    from bench.store.home import Home

    found: list[Diagnosis] = []
    with listener() as progress:
        question = Question(
            home=Home.default(),
            profile=profile,
            data=Path(data) if data else None,
            weights=Path(weights) if weights else None,
            offline=offline,
            key=key,
            results=Path(results),
            device=device,
            base=base,
            start=start,
            preprocessing=preprocessing,
            limit=limit,
            ids=ids,
            images=_count(images),
            manifest=Path(manifest) if manifest else None,
            settings=parse_settings(settings or []),
            progress=progress,
        )
        for finding in examine(question):
            found.append(finding)
            if not as_json:
                line = f"{finding.status:<5} {finding.about}: {finding.finding}"
                print(f"{line}; {finding.advice}" if finding.advice else line, flush=True)
    count = {status: sum(f.status is status for f in found) for status in Health}
    if as_json:
        print(json.dumps([asdict(f) for f in found], indent=2))
    else:
        print(f"doctor: {count[Health.OK]} ok, {count[Health.WARN]} warnings, {count[Health.FAIL]} failures")
    if count[Health.FAIL]:
        raise typer.Exit(1)


def _count(images: str) -> int | None:
    """A number of images, or None for ``all``."""
    from bench.core.errors import InputError

    if images == "all":
        return None
    if not images.isdecimal() or int(images) < 1:
        raise InputError(f"--images is {images!r}; expected a number of 1 or more, or all")
    return int(images)

"""`bench doctor`: checks of the setup, with advice."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from bench.cli.session import ended
from bench.cli.takes import JsonFlag, takes
from bench.core.flags import Flag
from bench.engine.request import Request, Resources


@takes(
    Request,
    Resources,
    only=("profile", "key", "base", "start", "preprocessing", "limit", "ids", "settings", "data", "weights", "offline",
          "results", "device"),
    fixed={"defense": "plain", "threat": "white-box", "attack": "pgd", "eps": "0"},
    examples=("bench doctor --profile imagenet --data /data/imagenet --device cuda",),
)  # fmt: skip
def doctor(
    request: Request,
    resources: Resources,
    images: Annotated[str, Flag("Images of each split to decode, e.g. 64, or all.", env="BENCH_DOCTOR_IMAGES")] = "64",
    manifest: Annotated[str | None, Flag("Write counts, images by class and digests to this file.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Check everything that a run would need, with its flags; trains nothing. Exit code 1 if the run would fail."""
    from bench.api.progress import listener
    from bench.doctor.examine import examine
    from bench.doctor.examined import Question
    from bench.doctor.finding import Diagnosis, Health
    from bench.store.home import Home

    found: list[Diagnosis] = []
    with listener() as progress:
        question = Question(request, resources, Home.default(), images=_count(images),
                            manifest=Path(manifest) if manifest else None, progress=progress)  # fmt: skip
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
    ended(well=not count[Health.FAIL])


def _count(images: str) -> int | None:
    """A number of images, or None for ``all``."""
    from bench.core.errors import InputError

    if images == "all":
        return None
    if not images.isdecimal() or int(images) < 1:
        raise InputError(f"--images is {images!r}; expected a number of 1 or more, or all")
    return int(images)

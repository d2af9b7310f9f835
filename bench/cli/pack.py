"""`bench results pack`: a run into one archive."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from bench.cli.patience import patience
from bench.cli.session import working
from bench.cli.takes import JsonFlag, RunArgument, takes
from bench.core.flags import Flag
from bench.engine.request import Resources


@takes(Resources, without=("readers", "workers", "train", "backend", "address", "rebuild", "verify_data"))
@patience("checking the run and packing it")
def pack(
    run: RunArgument,
    resources: Resources,
    with_images: Annotated[
        bool,
        Flag("Pack the adversarial images, so that others can judge them again.", "with-images", env="", switch=True),
    ] = False,
    out: Annotated[Path | None, Flag("The archive. Default: RUN.bench.zip in the working folder.", env="")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Pack record, verdicts and, if requested, adversarial images into one archive for submission."""
    from bench.submissions.pack import pack_run

    with working(resources) as means:
        packed = pack_run(means.results.find(run), out, means, with_images=with_images)
    if as_json:
        about = {"archive": str(packed.path), "run_id": packed.run_id, "bytes": packed.size, "shards": packed.shards}
        print(json.dumps(about, indent=2))
    else:
        images = f"{packed.shards} shards of adversarial images" if packed.shards else "no adversarial images"
        print(f"run {packed.run_id}: {packed.path}, {packed.size} bytes, {images}")

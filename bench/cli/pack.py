"""`bench results pack`: a run into one archive."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import DataOption, DeviceOption, JsonOption, OfflineOption, ResultsOption, WeightsOption


def pack(
    run: Annotated[str, typer.Argument(help="Id of the run, or its first digits.")],
    results: ResultsOption = "results",
    with_images: Annotated[
        bool, typer.Option("--with-images", help="Pack the adversarial images, so that others can judge them again.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="The archive; default: RUN.bench.zip here.")] = None,
    device: DeviceOption = "cpu",
    data: DataOption = None,
    weights: WeightsOption = None,
    offline: OfflineOption = False,
    as_json: JsonOption = False,
) -> None:
    """Pack record, verdicts and, where asked for, adversarial images into one archive to hand in."""
    from bench.cli.means import make_means
    from bench.cli.progress import listener
    from bench.submissions.pack import pack_run

    with listener() as progress:
        means = make_means(results, device, progress, data=data, weights=weights, offline=offline)
        packed = pack_run(means.results.find(run), out, means, with_images=with_images)
    if as_json:
        about = {"archive": str(packed.path), "run_id": packed.run_id, "bytes": packed.size, "shards": packed.shards}
        print(json.dumps(about, indent=2))
    else:
        images = f"{packed.shards} shards of adversarial images" if packed.shards else "no adversarial images"
        print(f"run {packed.run_id}: {packed.path}, {packed.size} bytes, {images}")

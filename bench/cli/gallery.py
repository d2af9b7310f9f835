"""`bench results gallery`: a picture of some of a run's images."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import (
    DataOption,
    DeviceOption,
    JsonOption,
    OfflineOption,
    RebuildOption,
    ResultsOption,
    WeightsOption,
)

if TYPE_CHECKING:
    from bench.engine.gallery import Choice


def gallery(
    run: Annotated[str, typer.Argument(help="Id of the run, or its first digits.")],
    ids: Annotated[str | None, typer.Option(help="These images: a file of ids, or ids with commas between.")] = None,
    images: Annotated[int | None, typer.Option(min=1, help="So many random ones; 12 where nothing is said.")] = None,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
    fooled: Annotated[bool, typer.Option("--fooled", help="Draw among those that fooled the target.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write OUT.png and OUT.pdf for print, too.")] = None,
    results: ResultsOption = "results",
    device: DeviceOption = "cpu",
    data: DataOption = None,
    weights: WeightsOption = None,
    offline: OfflineOption = False,
    rebuild: RebuildOption = False,
    as_json: JsonOption = False,
) -> None:
    """Draw clean image, perturbation and adversarial image, with labels; from the kept images, nothing is attacked."""
    from bench.cli.means import make_means
    from bench.cli.progress import listener
    from bench.engine.gallery import pictured
    from bench.engine.resolve import defender_key
    from bench.report.figures.style import save
    from bench.report.gallery import gallery as draw
    from bench.store.galleries import write_gallery
    from bench.store.keyring import Keyring

    choice = _choice(ids, images, seed, fooled=fooled)
    with listener() as progress:
        means = make_means(results, device, progress, data=data, weights=weights, offline=offline, rebuild=rebuild)
        folder = means.results.find(run)
        record = folder.read().record
        found = pictured(folder, defender_key(record.spec, Keyring(means.home.keys)), means, choice)
    made = draw(record, found, choice.words)
    paths = [write_gallery(folder.path, made.gallery, made.picture)]
    if out:
        paths += save(made.figure, out.with_suffix("") if out.suffix in (".png", ".pdf") else out)
    if as_json:
        sys.stdout.write(made.gallery.model_dump_json(indent=2) + "\n")
    else:
        print(made.gallery.caption)
        for path in paths:
            print(path)


def _choice(ids: str | None, images: int | None, seed: int, *, fooled: bool) -> Choice:
    """What the flags ask for.

    Raises:
        InputError: they contradict each other.
    """
    from bench.core.errors import InputError
    from bench.core.selection import read_ids
    from bench.engine.gallery import Choice

    if ids is None:
        return Choice(None, Choice.count if images is None else images, seed, fooled)
    if images is not None or fooled:
        raise InputError("--ids is given with --images or --fooled; expected either a list or a draw")
    listed = read_ids(ids) if Path(ids).is_file() else tuple(i.strip() for i in ids.split(",") if i.strip())
    return Choice(listed)

"""`bench results gallery`: a picture of some of a run's images."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from bench.cli.patience import patience
from bench.cli.session import working
from bench.cli.takes import JsonFlag, RunArgument, takes
from bench.core.flags import Flag
from bench.engine.request import Resources

if TYPE_CHECKING:
    from bench.engine.gallery import Choice


@takes(
    Resources,
    without=("readers", "workers", "train", "backend", "address", "verify_data"),
    examples=("bench results gallery 99ddebf8 --fooled --images 6 --out figures/fooled",),
)
@patience("reading the run and its stored images")
def gallery(
    run: RunArgument,
    resources: Resources,
    ids: Annotated[str | None, Flag("These images: a file of ids, or ids separated by commas.", env="")] = None,
    images: Annotated[int | None, Flag("Number of random images, e.g. 6. Default: 12.", env="", least=1)] = None,
    seed: Annotated[int, Flag("Random seed of the draw.", env="")] = 0,
    fooled: Annotated[bool, Flag("Draw among those that fooled the target.", "fooled", env="", switch=True)] = False,
    out: Annotated[Path | None, Flag("Also write OUT.png and OUT.pdf, for print.", env="")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Draw clean image, perturbation and adversarial image, with labels; uses stored images, nothing is attacked."""
    from bench.core.registry import registry
    from bench.engine.gallery import pictured
    from bench.report.figures.style import save
    from bench.report.gallery import gallery as draw
    from bench.store.galleries import write_gallery

    with working(resources) as means:
        folder = means.results.find(run)
        judged = folder.read()
        folders = registry("datasets").load(judged.record.spec.profile.dataset).folders_in_ids
        choice = _choice(ids, images, seed, fooled=fooled, folders=folders)
        found = pictured(judged, means, choice)
    made = draw(judged.record, found, choice.words)
    paths = [write_gallery(folder.path, made.gallery, made.picture)]
    if out:
        paths += save(made.figure, out.with_suffix("") if out.suffix in (".png", ".pdf") else out)
    if as_json:
        sys.stdout.write(made.gallery.model_dump_json(indent=2) + "\n")
    else:
        print(made.gallery.caption)
        for path in paths:
            print(path)


def _choice(ids: str | None, images: int | None, seed: int, *, fooled: bool, folders: bool) -> Choice:
    """The selection given by the flags.

    Raises:
        InputError: if they contradict each other.
    """
    from bench.core.errors import InputError
    from bench.core.selection import read_ids
    from bench.engine.gallery import Choice

    if ids is None:
        return Choice(None, Choice.count if images is None else images, seed, fooled)
    if images is not None or fooled:
        raise InputError("--ids is given with --images or --fooled; expected either a list or a draw")
    if Path(ids).is_file():
        return Choice(read_ids(ids, folders=folders))
    return Choice(tuple(i.strip() for i in ids.split(",") if i.strip()))

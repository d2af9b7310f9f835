"""Boards for the tests of the site: a small honest one, and one with hostile text in every field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin
from pydantic import BaseModel

from bench.report.board import make_board
from bench.report.board.model import Board
from bench.store.evidence import Confirmation, Evidence, Shown
from tests.unit.report.synthetic import evidence

HOSTILE = "</script><script>window.PWNED=1</script><img src=x onerror=window.PWNED=2>'\"`${7*7}{{7*7}}&lt;\u2028\u2029"
# What code reads rather than shows: ids that become file names, digests, numbers that stand in texts, names of enums.
KEPT = {"run_id", "standing_id", "weakest_run", "runs", "aside", "eps", "budget", "data", "eps_text", "verdicts"}
CAPTION = "4 images: clean, perturbation x 5 (grey is 0), adversarial; image 3 is a 7, seen as 7, then as 1"


@cache
def honest(n: int) -> Board:
    """A board of the first ``n`` synthetic runs."""
    return make_board(evidence(n, images=40))


@cache
def various() -> Board:
    """Groups of several lines in few worlds, several keys, both protocols, curves, runs that are ruled out."""
    worlds = {("digits", "linf"), ("digits", "l2"), ("imagenet", "l2")}
    runs = evidence(500, images=40, keys=2)
    return make_board([e for e in runs if _world(e) in worlds and not str(e.record.spec.budget).endswith("1/20")])


def _world(run: Evidence) -> tuple[str, str]:
    spec = run.record.spec
    return spec.profile.name, spec.budget.norm.value


def picture(folder: Path) -> Path:
    """A PNG with a text chunk that must not be passed on."""
    path, info = folder / "gallery.png", PngImagePlugin.PngInfo()
    info.add_text("Comment", HOSTILE)
    Image.effect_noise((300, 120), 60).save(path, pnginfo=info)
    return path


def with_gallery(board: Board, folder: Path) -> Board:
    """The first run of the board with a picture, and judged again."""
    first, *rest = board.runs
    record = first.evidence.record
    confirmation = Confirmation(
        run_id=record.run_id, verdicts=record.digests.verdicts, images=40, version="1", unchecked=["the source"]
    )
    seen = Evidence(record, first.evidence.rows, confirmation=confirmation, gallery=Shown(picture(folder), CAPTION))
    return replace(board, runs=(replace(first, evidence=seen), *rest))


def hostile(board: Board) -> Board:
    """The board with every text replaced that is shown; nothing is validated on the way."""
    return poisoned(board)


def poisoned(thing: Any, name: str = "") -> Any:
    """``thing`` with hostile texts, keys of mappings too."""
    if isinstance(thing, (Enum, Path)) or (name in KEPT and not _nested(thing)):
        return thing
    if isinstance(thing, str):
        return HOSTILE
    if is_dataclass(thing) and not isinstance(thing, type):
        if name == "rows":
            return thing
        return replace(thing, **{f.name: poisoned(getattr(thing, f.name), f.name) for f in fields(thing)})
    if isinstance(thing, BaseModel):
        known = {key: poisoned(getattr(thing, key), key) for key in type(thing).model_fields}
        return thing.model_copy(update=known)
    if isinstance(thing, Mapping):
        return {poisoned(key) if not isinstance(key, Enum) else key: poisoned(part) for key, part in thing.items()}
    if isinstance(thing, (list, tuple)):
        return thing if name == "rows" else type(thing)(poisoned(part) for part in thing)
    return thing


def _nested(thing: Any) -> bool:
    return isinstance(thing, tuple) and any(is_dataclass(part) for part in thing)

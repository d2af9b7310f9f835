"""Builds the files of the site from a board."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib import resources
from pathlib import Path

from bench import __version__
from bench.core.errors import InputError
from bench.report.board.model import Board, RunPage
from bench.report.board.payload import payload, run_payload
from bench.report.site.badges import badges
from bench.report.site.charts import steps
from bench.report.site.fields import Section, sections
from bench.report.site.folder import weight, write_site
from bench.report.site.pictures import repainted
from bench.report.site.render import page, script

Refusals = Sequence[tuple[str, str]]
RUN_ID = re.compile(r"[0-9a-f]{16}")


def build_site(board: Board, refusals: Refusals, out: Path) -> list[Path]:
    """Write the site; the same board gives the same bytes. Returns its files without the manifest.

    Args:
        board: The content.
        refusals: Records that were refused: name and reason.
        out: The folder; files from an earlier build that are no longer part of the site are removed.

    Raises:
        StorageError: if the folder cannot be written.
    """
    return write_site(out, files(board, refusals))


def files(board: Board, refusals: Refusals) -> dict[str, bytes]:
    """All files of the site by relative path, in order of the paths.

    Raises:
        InputError: if a run's id is invalid.
    """
    known = frozenset(run.evidence.record.run_id for run in board.runs)
    for name in known:
        if not RUN_ID.fullmatch(name):  # it is used as a file name
            raise InputError(f"a run called {name!r}; expected 16 hexadecimal digits; leave it out")
    data = payload(board)
    made = dict(_assets())
    made["index.html"] = page("index.html", root="", runs=len(board.runs), standings=len(board.standings))
    made["compare.html"] = page("compare.html", root="")
    made["about.html"] = page("about.html", root="", refusals=refusals, version=__version__, runs=len(board.runs))
    made["data/board.js"] = script("window.BENCH_BOARD", {"standings": data["standings"]})
    made["data/runs.js"] = script("window.BENCH_RUNS", data["runs"])
    for run in board.runs:
        made.update(_run(run, known))
    return dict(sorted(made.items()))


def table_weight(made: Mapping[str, bytes]) -> tuple[int, int]:
    """Bytes of the table's page with everything it loads: uncompressed, and as served by a host (gzip)."""
    loaded = re.findall(r'(?:src|href)="([^"#]+\.(?:js|css|svg))"', made["index.html"].decode())
    return weight([made["index.html"], *(made[name] for name in sorted(set(loaded)))])


def _assets() -> Iterator[tuple[str, bytes]]:
    room = resources.files("bench.report.site")
    for folder, place in (("assets", "assets"), ("vendor", "assets/vendor")):
        for file in sorted((room / folder).iterdir(), key=lambda f: f.name):
            if file.is_file() and not file.name.startswith("."):
                yield f"{place}/{file.name}", file.read_bytes()


def _run(run: RunPage, known: frozenset[str]) -> dict[str, bytes]:
    """The page of a run, with its data, record and picture."""
    record = run.evidence.record
    name, shown = f"runs/{record.run_id}", sections(run)
    picture = repainted(run.evidence.gallery.picture) if run.evidence.gallery else None
    made = {
        f"{name}.html": page(
            "run.html",
            root="../",
            run=run,
            record=record,
            badges=badges(run),
            sections=shown,
            ladder=steps(run.ladder, record.run_id, known),
            size=picture[1] if picture else None,
            known=known,
        ),
        f"{name}.js": script(
            f'(window.BENCH_RUN = window.BENCH_RUN || {{}})["{record.run_id}"]',
            {**run_payload(run), "title": run.title, "sections": [_rows(section) for section in shown]},
        ),
        f"{name}.json": _json(run),
    }
    if picture:
        made[f"{name}.png"] = picture[0]
    return made


def _rows(section: Section) -> dict[str, object]:
    return {key: item for key, item in asdict(section).items() if key != "open"}


def _json(run: RunPage) -> bytes:
    """The record, without the white space of the file in a results folder."""
    data = run.evidence.record.model_dump(mode="json")
    return (json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False) + "\n").encode()

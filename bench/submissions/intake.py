"""Runs as they come from strangers: nothing of a folder is believed that was not computed again."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from bench.store.confirmations import read_confirmation
from bench.store.evidence import Evidence
from bench.store.untrusted import RUN_ID, RefusedError, read_capped, tame
from bench.submissions import record as records
from bench.submissions import verdicts
from bench.submissions.gallery import take_gallery
from bench.submissions.rows import check_rows

RECORD, VERDICTS = "record.json", verdicts.FILE


@dataclass(frozen=True)
class Refusal:
    """A run that was not taken.

    Attributes:
        run: Its folder's or archive's name.
        field: What is wrong in it.
        text: What is wrong with that.
    """

    run: str
    field: str
    text: str

    def __str__(self) -> str:
        return f"{self.run}: {self.field}: {self.text}"


def read_run(folder: Path) -> Evidence:
    """A run whose record, verdicts and picture were checked as far as they can be without a model.

    Sizes and declared sizes are checked before anything is read; then texts, schema, names, every digest, every figure
    from the rows, and every row against itself and against the Spec.

    Raises:
        RefusedError: the first thing that is wrong, with the field's name.
    """
    if folder.is_symlink() or not folder.is_dir():
        raise RefusedError("folder", "is a link, or no folder")
    record = records.parse_record(read_capped(folder / RECORD, records.MOST_BYTES))
    if folder.name != record.run_id:
        raise RefusedError("run_id", f"is {record.run_id}, the folder is called {tame(folder.name, 40)!r}")
    data = read_capped(folder / VERDICTS, verdicts.MOST_BYTES)
    rows = check_rows(record, verdicts.parse_verdicts(data, record.metrics.images))
    confirmation = read_confirmation(folder, record)
    picture = take_gallery(folder, record, rows)
    return Evidence(record, tuple(rows), folder=folder, confirmation=confirmation, gallery=picture)


def read_all(results: Path) -> tuple[list[Evidence], list[Refusal]]:
    """Every run of a results folder in the order of their names, and every one that was not taken.

    Folders without a record (ladders, runs that go on) are no runs.
    """
    taken: list[Evidence] = []
    refused: list[Refusal] = []
    names = sorted(os.listdir(results)) if results.is_dir() else []
    for name in names:
        path = results / name
        if not os.path.lexists(path / RECORD):
            continue
        try:
            if not RUN_ID.fullmatch(name):
                raise RefusedError("run_id", "the folder's name is not 16 hexadecimal digits")
            taken.append(read_run(path))
        except Exception as error:  # whatever a stranger's files do, the others are read
            refused.append(refusal(name, error))
    return taken, refused


def refusal(run: str, error: BaseException) -> Refusal:
    """An error as a line."""
    if isinstance(error, RefusedError):
        return Refusal(tame(run, 60), error.field, error.text)
    return Refusal(tame(run, 60), "files", tame(f"{type(error).__name__}: {error}", 400))

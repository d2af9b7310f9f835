"""Intake of untrusted runs: everything in a folder is recomputed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from bench.store.confirmations import parse_confirmation, read_confirmation
from bench.store.elsewhere import fetch
from bench.store.evidence import Evidence
from bench.store.published import FOLDER, RUN_CONFIRMATION, RUN_GALLERY, Collection
from bench.store.runs import RunFolder, RunStore
from bench.store.seals import UNSEALED, document_damage, table_damage
from bench.store.untrusted import RUN_ID, RefusedError, read_capped, tame
from bench.submissions import record as records
from bench.submissions import verdicts
from bench.submissions.gallery import check_gallery, take_gallery
from bench.submissions.rows import check_rows

RECORD, VERDICTS = "record.json", verdicts.FILE


@dataclass(frozen=True)
class Refusal:
    """A refused run.

    Attributes:
        run: Name of its folder or archive.
        field: The invalid field.
        text: What is wrong with it.
    """

    run: str
    field: str
    text: str

    def __str__(self) -> str:
        return f"{self.run}: {self.field}: {self.text}"


def read_run(folder: Path) -> Evidence:
    """A run with record, verdicts and picture, checked as far as possible without a model.

    Sizes and declared sizes are checked before anything is read; then texts, schema, names, every digest, every figure
    from the rows, and every row for consistency and against the Spec.

    Raises:
        RefusedError: for the first error, with the field's name.
    """
    if folder.is_symlink() or not folder.is_dir():
        raise RefusedError("folder", "is a link, or not a folder")
    document = read_capped(folder / RECORD, records.MOST_BYTES)
    record = records.parse_record(document)
    if folder.name != record.run_id:
        raise RefusedError("run_id", f"is {record.run_id}, the folder is called {tame(folder.name, 40)!r}")
    data = read_capped(folder / VERDICTS, verdicts.MOST_BYTES)
    damage = table_damage(data)
    if damage and damage != UNSEALED:  # first: of a damaged file, a Parquet reader may abort the process
        raise RefusedError(VERDICTS, f"is damaged: {damage}")
    rows = check_rows(record, verdicts.parse_verdicts(data, record.metrics.images))
    confirmation = read_confirmation(folder, record)
    picture = take_gallery(folder, record, rows)
    _check_bytes(folder, {RECORD: document_damage(document), VERDICTS: damage})
    return Evidence(record, tuple(rows), folder=folder, confirmation=confirmation, gallery=picture)


def _check_bytes(folder: Path, damages: dict[str, str | None]) -> None:
    """Check the digests in files; what is in them has been checked already."""
    for name in (RUN_CONFIRMATION, RUN_GALLERY):
        if (folder / name).exists():
            damages[name] = document_damage(read_capped(folder / name, records.MOST_BYTES))
    for name, damage in damages.items():
        if damage:
            raise RefusedError(name, f"is damaged: {damage}")


def read_published(run: RunFolder, published: Collection, *, beside: bool = True) -> Evidence:
    """A published run, checked as :func:`read_run` checks one in a folder.

    Args:
        run: Id of the run.
        published: Its collection.
        beside: Prefer a confirmation or picture that was added to the run's folder later over the published one.

    Raises:
        RefusedError: for the first error, with the field's name.
        CorruptArtifactError: if the collection is damaged.
    """
    run_id = run.path.name
    record = records.parse_record(published.file(run_id, RECORD) or b"")
    if record.run_id != run_id:
        raise RefusedError("run_id", f"is {record.run_id}, the line names {run_id}")
    data = published.file(run_id, VERDICTS) or b""
    rows = check_rows(record, verdicts.parse_verdicts(data, record.metrics.images))
    confirmation = read_confirmation(run.path, record) if beside else None
    gallery = take_gallery(run.path, record, rows) if beside else None
    if confirmation is None and (document := published.file(run_id, RUN_CONFIRMATION)):
        confirmation = parse_confirmation(document, record)
    if gallery is None and (document := published.file(run_id, RUN_GALLERY)):
        gallery = check_gallery(document, published.picture_path(run_id), record, rows)
    return Evidence(record, tuple(rows), folder=published.folder, confirmation=confirmation, gallery=gallery)


def read_own(run: RunFolder) -> Evidence:
    """A run of a results folder, in its own folder or published.

    Raises:
        RefusedError: as :func:`read_run`.
    """
    return read_published(run, run.published) if run.published else read_run(run.path)


def read_all(results: Path, *, folders: bool = True) -> tuple[list[Evidence], list[Refusal]]:
    """Every run of a results folder in the order of their names, and every refused one.

    Folders without a record (ladders, unfinished runs) are not runs. A run's folder takes precedence over its
    publication.

    Args:
        results: The folder.
        folders: Include runs in their own folders; otherwise only published ones.
    """
    taken: list[Evidence] = []
    refused: list[Refusal] = []
    fetch(results)
    store = RunStore(results)
    names = os.listdir(results) if folders and results.is_dir() else []
    own = {name for name in names if os.path.lexists(results / name / RECORD)}
    published = {run_id: collection for collection in store.collections for run_id in collection.ids()}
    for name in sorted(own.union(published)):
        try:
            if not RUN_ID.fullmatch(name):
                raise RefusedError("run_id", "the folder's name is not 16 hexadecimal digits")
            run = store.run(name)
            taken.append(read_run(run.path) if name in own else read_published(run, published[name], beside=folders))
        except Exception as error:  # whatever untrusted files cause, the others are read
            refused.append(refusal(name, error))
    for collection in store.collections:
        refused += [Refusal(f"{FOLDER}/{collection.name}", "files", tame(text, 400)) for text in collection.problems]
    return taken, refused


def refusal(run: str, error: BaseException) -> Refusal:
    """An error as a line."""
    if isinstance(error, RefusedError):
        return Refusal(tame(run, 60), error.field, error.text)
    return Refusal(tame(run, 60), "files", tame(f"{type(error).__name__}: {error}", 400))

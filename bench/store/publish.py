"""Publishing runs into a collection: the same runs give the same bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.core.errors import BenchError, CorruptArtifactError, InputError
from bench.store.confirmations import parse_confirmation
from bench.store.documents import document_line, parse_file, write_document
from bench.store.elsewhere import forget, keep
from bench.store.galleries import Gallery
from bench.store.parquet import encode_runs
from bench.store.published import (
    CONFIRMATIONS,
    FOLDER,
    GALLERIES,
    MANIFEST,
    PICTURES,
    RECORDS,
    RUN_CONFIRMATION,
    RUN_GALLERY,
    RUN_PICTURE,
    VERDICTS,
    Collection,
    Contents,
)
from bench.store.record import Record
from bench.store.runs import RunFolder, RunStore
from bench.store.untrusted import NAME
from bench.store.verdicts import columns_of


@dataclass
class Published:
    """Result of publishing.

    Attributes:
        folder: Folder of the collection.
        runs: Ids of all runs in it.
        added: Ids of new runs, and of runs with changed content.
        left_out: Requested runs and files that are not in it, with the reason, one line each.
        size: Total bytes of its files.
    """

    folder: Path
    runs: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    size: int = 0


def publish(store: RunStore, name: str, wanted: Iterable[str]) -> Published:
    """Add runs to the collection ``published/NAME``; its existing runs and all run folders are kept.

    The same runs give the same bytes, in any order and any number of steps.

    Args:
        store: The store of the runs.
        name: Name of the collection.
        wanted: Ids of complete runs.

    Raises:
        InputError: if the name is not a plain word.
        CorruptArtifactError: if a published run is damaged; nothing was written.
        StorageError: if the folder cannot be written.
    """
    if not NAME.fullmatch(name) or ".." in name:
        raise InputError(f"collection name {name!r} is invalid; expected letters, digits, '.', '_', '+', '-'")
    folder = store.root / FOLDER / name
    before, out = Collection(folder), Published(folder)
    if before.problems and before.ids():
        raise CorruptArtifactError(before.problems[0])
    runs = {run_id: _taken(RunFolder(folder / run_id, before), out.left_out.append) for run_id in before.ids()}
    for run_id in wanted:
        try:
            taken = _taken(store.run(run_id), out.left_out.append)
        except BenchError as error:
            out.left_out.append(f"run {run_id}: {error}")
            continue
        if runs.get(run_id) != taken:
            out.added.append(run_id)
        runs[run_id] = taken
    out.runs = sorted(runs)
    out.size = _write(folder, runs)
    return out


@dataclass(frozen=True)
class _Taken:
    """The published form of a run: documents in one line each, columns of its verdicts, a PNG."""

    record: bytes
    columns: list[list[Any]]
    confirmation: bytes | None
    gallery: bytes | None
    picture: bytes | None


def _taken(run: RunFolder, leave_out: Callable[[str], None]) -> _Taken:
    """The complete content of a run; a damaged or mismatched picture is omitted and reported.

    Raises:
        RefusedError: if its confirmation is damaged: without it a run from outside would look like an own one.
    """
    judged = run.read()
    record = judged.record
    confirmation = gallery = picture = None
    if (document := run.file(RUN_CONFIRMATION)) is not None:
        confirmation = document_line(parse_confirmation(document, record))
    try:
        if (document := run.file(RUN_GALLERY)) is not None:
            gallery, picture = _pictured(document, run.file(RUN_PICTURE), record)
    except BenchError as error:
        leave_out(f"run {record.run_id}: {error}")
    return _Taken(document_line(record), columns_of(judged.rows), confirmation, gallery, picture)


def _pictured(document: bytes, picture: bytes | None, record: Record) -> tuple[bytes, bytes]:
    gallery = parse_file(document, Gallery, RUN_GALLERY)
    if picture is None or hashlib.sha256(picture).hexdigest() != gallery.picture:
        raise CorruptArtifactError(f"{RUN_PICTURE} is missing or does not have the SHA-256 in {RUN_GALLERY}")
    if (gallery.run_id, gallery.verdicts) != (record.run_id, record.digests.verdicts):
        raise CorruptArtifactError(f"{RUN_GALLERY} is of other verdicts")
    return document_line(gallery), picture


def _write(folder: Path, runs: Mapping[str, _Taken]) -> int:
    """The files of a collection, the manifest last; returns their total size."""
    ordered = [runs[name] for name in sorted(runs)]
    files = {
        RECORDS: b"".join(run.record for run in ordered),
        VERDICTS: encode_runs({name: run.columns for name, run in runs.items()}),
        CONFIRMATIONS: b"".join(run.confirmation for run in ordered if run.confirmation),
        GALLERIES: b"".join(run.gallery for run in ordered if run.gallery),
        **{f"{PICTURES}/{name}.png": run.picture for name, run in sorted(runs.items()) if run.picture},
    }
    files = {name: data for name, data in files.items() if data}
    for name, data in files.items():
        keep(folder / name, data)
    for path in [*folder.glob("*.jsonl"), *folder.glob(f"{PICTURES}/*.png")]:
        if path.relative_to(folder).as_posix() not in files:  # of a removed picture or confirmation
            forget(path)
    contents = Contents(
        name=folder.name,
        runs=len(runs),
        images=sum(len(run.columns[0]) for run in ordered),
        files={name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())},
    )
    write_document(folder / MANIFEST, contents)
    return sum(map(len, files.values())) + (folder / MANIFEST).stat().st_size

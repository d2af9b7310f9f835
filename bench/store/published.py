"""Published runs: the records and verdicts of many runs in a few files, read like run folders."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from bench.core.canonical import sha256_of
from bench.core.errors import CorruptArtifactError
from bench.core.frozen import Sealed
from bench.store.documents import document_text, parse_line, read_document
from bench.store.record import Record
from bench.store.verdicts import Row, rows_of

if TYPE_CHECKING:
    from bench.store.parquet import RunTable

FOLDER = "published"  # folder of collections, in a results folder
MANIFEST, RECORDS, VERDICTS = "manifest.json", "records.jsonl", "verdicts.parquet"
CONFIRMATIONS, GALLERIES, PICTURES = "confirmations.jsonl", "galleries.jsonl", "pictures"
# Files of a run's folder.
RUN_RECORD, RUN_VERDICTS, RUN_CONFIRMATION = "record.json", "verdicts.parquet", "confirmation.json"
RUN_GALLERY, RUN_PICTURE = "gallery.json", "gallery.png"
# A line is a document with the run's id near its start; no other text in it can match.
_RUN_ID = re.compile(rb'"run_id":"([0-9a-f]{16})"')


class Contents(Sealed):
    """The content of a collection."""

    schema_version: Literal[1] = 1
    kind: Literal["collection"] = "collection"
    name: str
    runs: int = Field(ge=0)
    images: int = Field(ge=0, description="total number of verdicts")
    files: dict[str, str] = Field(description="SHA-256 of every other file, by its path in the collection's folder")


@dataclass
class _Lines:
    """Documents by run id, and the numbers of the lines without one."""

    by_run: dict[str, bytes] = field(default_factory=dict)
    nameless: list[int] = field(default_factory=list)


class Collection:
    """One folder of published runs; its files are read once, on first use.

    Args:
        folder: The collection's, ``results/published/NAME``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.folder.name

    @cached_property
    def contents(self) -> Contents:
        """The declared content.

        Raises:
            CorruptArtifactError: if the manifest is missing or damaged.
        """
        return read_document(self.folder / MANIFEST, Contents, "manifest")

    @cached_property
    def problems(self) -> list[str]:
        """Files that differ from what was published, and lines without a run; one line each."""
        out = [f"{self.folder / RECORDS}: line {line} names no run" for line in self._records.nameless]
        try:
            files = self.contents.files
        except CorruptArtifactError as error:
            return [*out, str(error)]
        for name, expected in files.items():
            path = self.folder / name
            if not path.is_file():
                out.append(f"{path} is missing; expected it next to {MANIFEST}")
            elif sha256_of(path) != expected:
                out.append(f"{path} does not have the SHA-256 in {MANIFEST}; restore it, or publish the runs again")
        return out

    def ids(self) -> list[str]:
        """Ids of its runs, in order."""
        return sorted(self._records.by_run)

    def __contains__(self, run_id: object) -> bool:
        """Whether it has a record of this id."""
        return run_id in self._records.by_run

    def record_line(self, run_id: str) -> bytes:
        """The record as JSON in one line."""
        return self._records.by_run[run_id]

    def record(self, run_id: str) -> Record:
        """The record of a run of the collection.

        Raises:
            CorruptArtifactError: if its line is damaged; the field is named.
        """
        where = f"record {run_id} in {self.folder / RECORDS}"
        record = parse_line(self.record_line(run_id), Record, where)
        if record.run_id != run_id:
            raise CorruptArtifactError(f"{where} is that of run {record.run_id}")
        return record

    def columns(self, run_id: str) -> list[list[Any]]:
        """The verdicts of a run of the collection, as plain values by column, in the order of a row's fields.

        Raises:
            CorruptArtifactError: if the file cannot be read, or has no rows of this run.
        """
        return self._verdicts.columns(run_id)

    def rows(self, run_id: str) -> list[Row]:
        """The verdicts of a run of the collection.

        Raises:
            CorruptArtifactError: as :meth:`columns`.
        """
        try:
            return rows_of(self.columns(run_id))
        except ValueError as error:
            raise CorruptArtifactError(f"verdicts of run {run_id} in {self.folder / VERDICTS}: {error}") from None

    def file(self, run_id: str, name: str) -> bytes | None:
        """Content of a file in the run's folder, such as ``record.json``; None if there is no such file.

        Raises:
            CorruptArtifactError: if its source is damaged.
        """
        if name == RUN_VERDICTS:
            return self._verdicts.encode(run_id)
        if name == RUN_PICTURE:
            return self._picture(run_id)
        kinds = {RUN_RECORD: self._records, RUN_CONFIRMATION: self._confirmations, RUN_GALLERY: self._galleries}
        line = kinds[name].by_run.get(run_id)
        try:
            return None if line is None else document_text(line)
        except ValueError as error:
            raise CorruptArtifactError(f"{name} of run {run_id} in {self.folder} is not JSON: {error}") from None

    def picture_path(self, run_id: str) -> Path:
        """Path of the run's picture, if there is one."""
        return self.folder / PICTURES / f"{run_id}.png"

    def _picture(self, run_id: str) -> bytes | None:
        path = self.picture_path(run_id)
        return path.read_bytes() if path.is_file() else None

    @cached_property
    def _records(self) -> _Lines:
        return _lines(self.folder / RECORDS)

    @cached_property
    def _confirmations(self) -> _Lines:
        return _lines(self.folder / CONFIRMATIONS)

    @cached_property
    def _galleries(self) -> _Lines:
        return _lines(self.folder / GALLERIES)

    @cached_property
    def _verdicts(self) -> RunTable:
        from bench.store.parquet import RunTable  # noqa: PLC0415 (pyarrow)

        return RunTable(self.folder / VERDICTS)


def collections(results: Path) -> list[Collection]:
    """The collections of a results folder, by name."""
    return [Collection(path.parent) for path in sorted(results.glob(f"{FOLDER}/*/{RECORDS}"))]


def _lines(path: Path) -> _Lines:
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        lines = []
    except OSError as error:
        raise CorruptArtifactError(f"{path} cannot be read: {error.strerror}") from None
    out = _Lines()
    for number, line in enumerate(lines, 1):
        named = _RUN_ID.search(line)
        if named:
            out.by_run[named[1].decode()] = line
        elif line.strip():
            out.nameless.append(number)
    return out

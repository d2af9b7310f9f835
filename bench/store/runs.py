"""The results folder: a folder for each run, shards while it goes on, record and verdicts when it is done."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.core.errors import CorruptArtifactError, UnknownNameError
from bench.core.names import suggestion
from bench.core.nouns import Outcome
from bench.store.files import locked
from bench.store.record import Record, read_record, write_record
from bench.store.run import Run
from bench.store.verdicts import Row, read_rows, rows_digest, write_rows


class RunFolder:
    """``results/<run id>``: ``shards/*.parquet`` while running; ``record.json``, ``verdicts.parquet`` once done."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def record_path(self) -> Path:
        """Written last: where it is, the run is complete."""
        return self.path / "record.json"

    @property
    def verdicts_path(self) -> Path:
        """One row for each image."""
        return self.path / "verdicts.parquet"

    def read(self) -> Run:
        """Record and verdicts, checked against each other.

        Raises:
            CorruptArtifactError: one of them is damaged, or they do not belong together.
        """
        record = read_record(self.record_path)
        rows, _ = read_rows(self.verdicts_path)
        if rows_digest(rows) != record.digests.verdicts:
            raise CorruptArtifactError(f"{self.verdicts_path} does not have the digest in {self.record_path}")
        return Run(record, tuple(rows), folder=self.path)

    def shard(self, index: int) -> tuple[list[Row], dict[str, Any]] | None:
        """A finished shard in which no attack raised, or None."""
        path = self._shard(index)
        if not path.exists():
            return None
        rows, about = read_rows(path)
        return None if any(row.outcome is Outcome.ERROR for row in rows) else (rows, about)

    def write_shard(self, index: int, rows: list[Row], about: dict[str, Any]) -> None:
        """Write a shard whole."""
        write_rows(self._shard(index), rows, about)

    def finish(self, record: Record, rows: list[Row]) -> None:
        """Write verdicts, then the record; shards stay only where an attack raised, to be run again."""
        write_rows(self.verdicts_path, rows)
        write_record(self.record_path, record)
        if not record.metrics.outcomes[Outcome.ERROR]:
            shutil.rmtree(self.path / "shards", ignore_errors=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One process at a time.

        Raises:
            InputError: another process runs it.
            StorageError: the folder cannot be made.
        """
        with locked(self.path / ".lock", busy=f"run {self.path.name} is being made by another process; wait for it"):
            yield

    def _shard(self, index: int) -> Path:
        return self.path / "shards" / f"{index:05d}.parquet"


class RunStore:
    """All runs of one results folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def ids(self) -> list[str]:
        """Ids of the complete runs."""
        return sorted(p.parent.name for p in self.root.glob("*/record.json"))

    def run(self, run_id: str) -> RunFolder:
        """The folder of a run, which need not exist."""
        return RunFolder(self.root / run_id)

    def find(self, prefix: str) -> RunFolder:
        """The complete run whose id begins with ``prefix``.

        Raises:
            UnknownNameError: none does, or several do.
        """
        found = [i for i in self.ids() if prefix and i.startswith(prefix)]
        if len(found) != 1:
            many = f"several runs begin with {prefix!r}: {', '.join(found)}; expected more digits"
            none = f"no run {prefix!r} in {self.root}{suggestion(prefix, self.ids())}"
            raise UnknownNameError(many if found else none)
        return self.run(found[0])

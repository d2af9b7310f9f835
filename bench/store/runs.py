"""The results folder: one folder per run, and collections of published runs."""

from __future__ import annotations

import difflib
import json
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.core.errors import CorruptArtifactError, InputError, UnknownNameError
from bench.core.life import Life
from bench.core.nouns import Outcome
from bench.store.claims import STALE, Claims
from bench.store.elsewhere import Elsewhere, fetch, forget, place_of
from bench.store.files import locked, write_new
from bench.store.published import RECORDS, VERDICTS, Collection, collections
from bench.store.record import Record, read_record, write_record
from bench.store.run import Run
from bench.store.verdicts import Row, read_rows, rows_digest, write_rows

BEGUN = ".begun.json"  # among the shards of an unfinished run
_SHOWN = 3  # ids in an error


class RunFolder:
    """``results/<run id>``: ``shards/*.parquet`` while running; ``record.json``, ``verdicts.parquet`` once done.

    Args:
        path: The folder, which need not exist.
        published: A collection with the run, used if the folder has no record.
    """

    def __init__(self, path: Path, published: Collection | None = None) -> None:
        self.path, self._published = path, published

    @property
    def published(self) -> Collection | None:
        """The collection that the run is read from; None if it is read from the folder."""
        return None if self.record_path.exists() else self._published

    @property
    def complete(self) -> bool:
        """Whether there is a record, in the folder or published."""
        return self.record_path.exists() or self._published is not None

    @property
    def where(self) -> Path:
        """The file with the record."""
        return self.published.folder / RECORDS if self.published else self.record_path

    @property
    def record_path(self) -> Path:
        """Written last: if it exists, the run is complete."""
        return self.path / "record.json"

    @property
    def verdicts_path(self) -> Path:
        """One row per image."""
        return self.path / "verdicts.parquet"

    def read(self) -> Run:
        """Record and verdicts, checked against each other.

        Raises:
            CorruptArtifactError: if one of them is damaged, or they do not belong together.
        """
        if self.published:
            record, rows = self.published.record(self.path.name), self.published.rows(self.path.name)
            verdicts = f"{self.published.folder / VERDICTS}: run {record.run_id}"
        else:
            record, rows = read_record(self.record_path), read_rows(self.verdicts_path)[0]
            verdicts = str(self.verdicts_path)
        if rows_digest(rows) != record.digests.verdicts:
            raise CorruptArtifactError(f"{verdicts} does not have the digest in {self.where}")
        return Run(record, tuple(rows), folder=self.where.parent)

    def file(self, name: str) -> bytes | None:
        """The bytes of a file of the run, such as ``record.json``: from its folder, or as published; None for none.

        Raises:
            CorruptArtifactError: if its source is damaged.
        """
        if (self.path / name).exists():
            return (self.path / name).read_bytes()
        return self.published.file(self.path.name, name) if self.published else None

    def record(self) -> Record:
        """The validated record alone; of its verdicts only the presence is checked.

        Raises:
            CorruptArtifactError: if it is damaged, or its verdicts are missing.
        """
        if self.published:
            return self.published.record(self.path.name)
        if not self.verdicts_path.is_file():
            raise CorruptArtifactError(f"{self.verdicts_path} is missing; expected it next to record.json")
        return read_record(self.record_path)

    def summary(self) -> Record:
        """The record alone, for uses without verdicts; these are checked only if that is fast.

        A published run's files are checked against the SHA-256 in the manifest, which does not need a Parquet reader.

        Raises:
            CorruptArtifactError: as :meth:`read`.
        """
        if self.published and not self.published.problems:
            return self.record()
        return self.read().record

    def shard(
        self, index: int, images: Sequence[tuple[str, int]], *, errors: bool = False
    ) -> tuple[list[Row], dict[str, Any]] | None:
        """A finished shard in which no attack raised, or None.

        Args:
            index: Its number.
            images: Ids and labels of its images.
            errors: Also one in which an attack raised.

        Raises:
            CorruptArtifactError: if it is damaged, belongs to another place, or holds other images.
        """
        path = self._shard(index)
        if not path.exists():
            return None
        rows, about = read_rows(path, address=self._address(index))
        if [(row.image_id, row.label) for row in rows] != list(images):
            raise CorruptArtifactError(f"verdict file {path} holds {len(rows)} verdicts on other images than the "
                                       f"{len(images)} of this shard")  # fmt: skip
        return None if not errors and any(row.outcome is Outcome.ERROR for row in rows) else (rows, about)

    def write_shard(self, index: int, rows: list[Row], about: dict[str, Any]) -> None:
        """Write a shard atomically; if several processes do, the first counts.

        Only a shard that is damaged, or in which an attack raised, is replaced.
        """
        path, address = self._shard(index), self._address(index)
        if write_rows(path, rows, about, address=address, new=True):
            return
        with locked(path.with_name(".lock")):
            with suppress(CorruptArtifactError):
                if self.shard(index, [(row.image_id, row.label) for row in rows]):
                    return
            write_rows(path, rows, about, address=address)

    def begin(self, shards: int, images: int, argv: Sequence[str]) -> None:
        """Note for others how much there is to do; the first process to begin the run does."""
        about = {"shards": shards, "images": images, "command": shlex.join(argv)}
        write_new(self.path / "shards" / BEGUN, json.dumps(about).encode())

    def finish(self, record: Record, rows: list[Row]) -> None:
        """Write verdicts, then the record; shards are kept only if an attack raised, to be run again."""
        forget(self.record_path)  # of a run with errors: until the new one is there, it is incomplete
        forget(self.path / "confirmation.json")  # of the earlier verdicts
        write_rows(self.verdicts_path, rows)
        write_record(self.record_path, record)
        if not record.metrics.outcomes[Outcome.ERROR]:
            forget(self.path / "shards")

    def tidy(self) -> None:
        """Remove what a process left that was killed at the end of a complete run: its lock, finished shards."""
        if any((self.path / name).exists() for name in (".lock", "shards")):
            with suppress(InputError), self.locked():  # otherwise another process is about to
                forget(self.path / "shards")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the run for one process.

        Raises:
            BusyError: if another process runs it.
            StorageError: if the folder cannot be created.
        """

        def busy(holder: str) -> str:
            return (
                f"run {self.path.name} is being made by {holder}; wait for it, watch it with `bench results status "
                f"{self.path.name}`, or help it with `bench worker run` and the same flags"
            )

        with locked(self.path / ".lock", busy=busy):
            if place := Elsewhere.of(self.path):
                place.pull(self.path)
                place.push(self.path)
            yield

    @property
    def driver(self) -> str | None:
        """The process that makes the run, as its lock names it."""
        path = self.path / ".lock"
        return path.read_text(errors="replace") or None if path.exists() else None

    def claims(self, driver: Life | None = None, stale: float = STALE) -> Claims:
        """The claims on its shards.

        Args:
            driver: The process that gives them out.
            stale: Seconds without a sign of life after which a process on another machine counts as dead.
        """
        return Claims(self.path / "shards", driver, stale)

    def _address(self, index: int) -> str:
        return f"{self.path.name}/{index}"

    def _shard(self, index: int) -> Path:
        return self.path / "shards" / f"{index:05d}.parquet"


class RunStore:
    """All runs of one results folder: those in their own folders, and those in ``published/NAME``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._fetched: frozenset[str] = frozenset()  # runs of which a list was asked for

    @cached_property
    def collections(self) -> list[Collection]:
        """Published runs, cached on first use."""
        return collections(self.root)

    def ids(self) -> list[str]:
        """Ids of the complete runs."""
        fetch(self.root)
        own = {p.parent.name for p in self.root.glob("*/record.json")}
        self._fetched = frozenset(own)
        return sorted(own.union(*(collection.ids() for collection in self.collections)))

    def problems(self) -> list[str]:
        """Errors in the files of collections, one line each."""
        return [text for collection in self.collections for text in collection.problems]

    def run(self, run_id: str) -> RunFolder:
        """The folder of a run, which need not exist."""
        if run_id not in self._fetched:
            fetch(self.root / run_id)
        return RunFolder(self.root / run_id, next((c for c in self.collections if run_id in c), None))

    def begun(self, prefix: str) -> RunFolder:
        """The run with an id that starts with ``prefix``, complete or not.

        Raises:
            UnknownNameError: if there is none, or there are several.
        """
        unfinished = [path.parent.name for name in ("shards", ".lock") for path in self.root.glob(f"*/{name}")]
        return self._one(prefix, sorted({*unfinished, *self.ids()}))

    def find(self, prefix: str) -> RunFolder:
        """The complete run with an id that starts with ``prefix``.

        Raises:
            UnknownNameError: if there is none, or there are several.
        """
        return self._one(prefix, self.ids())

    def _one(self, prefix: str, ids: list[str]) -> RunFolder:
        found = [i for i in ids if prefix and i.startswith(prefix)]
        if len(found) != 1:
            raise UnknownNameError(_several(prefix, found) if found else _none(prefix, ids, self.root))
        return self.run(found[0])


def _several(prefix: str, found: list[str]) -> str:
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"several runs start with {prefix!r}: {', '.join(found[:_SHOWN])}{more}; expected more digits"


def _none(prefix: str, ids: list[str], root: Path) -> str:
    if not ids:
        return f"no run {prefix!r} in {place_of(root)}, which holds no runs; expected another: give --results DIR"
    near = difflib.get_close_matches(prefix, ids, n=_SHOWN, cutoff=0.0)
    return (
        f"no run {prefix!r} in {place_of(root)}, which holds {len(ids)} runs; the nearest ids are {', '.join(near)}; "
        "`bench results list` shows all"
    )

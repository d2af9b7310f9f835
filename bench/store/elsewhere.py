"""Results elsewhere: a URL that fsspec reads (s3://, gs://, sftp://, file:// ...), with a working copy on this machine.

The copy is a results folder like any other, below ``BENCH_HOME/cache/results``, in a folder that has the quoted URL as
its name. What is written there is put at the URL too, as whole objects; what is there and not here is fetched first.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from uuid import uuid4

from bench.core.errors import InputError, StorageError
from bench.store.files import check_writable, write_new, write_whole
from bench.store.home import Home

_MARK = quote("://", safe="")
_LONGEST = 255  # bytes of a file's name on all common file systems
_AT_ONCE = 64  # files that are held in memory while they are fetched


def results_folder(place: str | Path) -> Path:
    """The folder of a results place: of a URL, that of its copy on this machine.

    Raises:
        InputError: if the URL holds a password, which would be in every record, or is too long.
    """
    text = str(place)
    if "://" not in text:
        return Path(place)
    if urlsplit(text.rpartition("::")[2]).password is not None:
        raise InputError("the URL of --results holds a password, which would be in every record; expected credentials "
                         "in the environment or in fsspec's configuration")  # fmt: skip
    name = quote(text.rstrip("/"), safe="")
    if len(name) > _LONGEST:
        raise InputError(f"the URL of --results has {len(text)} characters; expected a shorter one")
    return Home.default().results / name


@dataclass(frozen=True)
class Elsewhere:
    """A place for results and its copy here.

    Attributes:
        copy: The folder on this machine.
        url: The place.
    """

    copy: Path
    url: str

    @classmethod
    def of(cls, path: Path) -> Elsewhere | None:
        """The place of which ``path`` is a part of the copy; None for an ordinary path."""
        copy = next((p for p in (path, *path.parents) if _MARK in p.name), None)
        return None if copy is None else cls(copy, unquote(copy.name))

    def pull(self, path: Path) -> None:
        """Fetch what is in ``path`` there and not here.

        Documents are fetched always, since they may change; other files if they are not here in this size, or a
        document beside them has changed. Of the whole place, shards of unfinished runs are left out.

        Raises:
            StorageError: if it cannot be read.
        """
        with self._explained("read"):
            fs, base = self._there()
            fs.invalidate_cache()
            found = {self.copy / _inside(key, base): (key, size) for key, size in _files(fs, self._key(path))}
            there = {own: at for own, at in found.items() if self._counts(own, path)}
            documents = [own for own in there if own.suffix == ".json"]
            changed = {own.parent for own, data in _read(fs, there, documents) if _kept(own, data)}
            others = [own for own, (_, size) in there.items() if own.suffix != ".json"
                      and (own.parent in changed or not own.is_file() or own.stat().st_size != size)]  # fmt: skip
            for own, data in _read(fs, there, others):
                write_whole(own, data)

    def push(self, path: Path) -> None:
        """Put there what is in ``path`` here only, such as the shards of a run that lost its connection.

        Raises:
            StorageError: if it cannot be written.
        """
        with self._explained("read"):
            fs, base = self._there()
            there = {_inside(key, base) for key, _ in _files(fs, self._key(path))}
        for own in sorted(path.rglob("*"), key=lambda p: (p.name == "record.json", p)):  # the record says: complete
            if own.is_file() and not own.name.startswith(".") and own.relative_to(self.copy).as_posix() not in there:
                self.put(own, own.read_bytes())

    def put(self, path: Path, data: bytes) -> None:
        """Put an object whole: under another name first, then moved.

        Raises:
            StorageError: if it cannot be written.
        """
        with self._explained("write"):
            fs, _ = self._there()
            folder, _, name = self._key(path).rpartition("/")
            part = f"{folder}/.{name}.{uuid4().hex}.part"
            try:
                fs.pipe_file(part, data)
            except FileNotFoundError:
                fs.makedirs(folder, exist_ok=True)
                fs.pipe_file(part, data)
            fs.mv(part, f"{folder}/{name}")

    def drop(self, path: Path) -> None:
        """Remove an object, or all below it; nothing if there is none.

        Raises:
            StorageError: if it cannot be removed.
        """
        with self._explained("write"), suppress(FileNotFoundError):
            self._there()[0].rm(self._key(path), recursive=True)

    def _counts(self, own: Path, path: Path) -> bool:
        return not own.name.startswith(".") and (path != self.copy or own.parent.name != "shards")

    def _there(self) -> tuple[Any, str]:
        """The file system, and the place in it."""
        import fsspec  # noqa: PLC0415 (slow)

        fs, base = fsspec.core.url_to_fs(self.url)
        return fs, base.rstrip("/")

    def _key(self, path: Path) -> str:
        inside = path.relative_to(self.copy).as_posix()
        base = self._there()[1]
        return base if inside == "." else f"{base}/{inside}"

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except (InputError, MemoryError):
            raise
        except Exception as error:  # every file system has errors of its own
            why = " ".join(str(error).split())[:200] or "no reason given"
            raise StorageError(f"cannot {what} {self.url}: {type(error).__name__}: {why}; expected a place that fsspec "
                               "reads and writes, and its credentials") from error  # fmt: skip


def place_of(path: Path) -> str:
    """A path as a user knows it: of a copy, the URL of the object."""
    place = Elsewhere.of(path)
    return f"{place.url}/{path.relative_to(place.copy).as_posix()}".removesuffix("/.") if place else str(path)


def fetch(path: Path) -> None:
    """Fetch a folder, if it is a copy, or in one.

    Raises:
        StorageError: if it cannot be read.
    """
    if place := Elsewhere.of(path):
        place.pull(path)


def keep(path: Path, data: bytes, *, new: bool = False) -> bool:
    """Write a file atomically; also elsewhere, if its folder is a copy.

    Args:
        path: The file.
        data: All of it.
        new: Never replace a file.

    Returns:
        Whether it was written.

    Raises:
        StorageError: if one of the two cannot be written.
    """
    if not new:
        write_whole(path, data)
    elif not write_new(path, data):
        return False
    if place := Elsewhere.of(path):
        place.put(path, data)
    return True


def forget(path: Path) -> None:
    """Remove a file or a folder, if it exists; elsewhere first, if it is in a copy.

    Raises:
        StorageError: if it cannot be removed elsewhere.
    """
    if place := Elsewhere.of(path):
        place.drop(path)
    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def check_results(root: Path) -> None:
    """Write and remove a small file, leaving nothing behind; also elsewhere, if the folder is a copy.

    Raises:
        StorageError: if that fails.
    """
    check_writable(root)
    if place := Elsewhere.of(root):
        probe = root / f".{uuid4().hex}"
        place.put(probe, b"")
        place.drop(probe)


def _files(fs: Any, key: str) -> list[tuple[str, int]]:
    try:
        return [(name, info["size"]) for name, info in fs.find(key, detail=True).items()]
    except FileNotFoundError:
        return []


def _read(fs: Any, there: Mapping[Path, tuple[str, int]], wanted: Sequence[Path]) -> Iterator[tuple[Path, bytes]]:
    """The bytes of files, some at once."""
    for start in range(0, len(wanted), _AT_ONCE):
        owns = {there[own][0]: own for own in wanted[start : start + _AT_ONCE]}
        for key, data in fs.cat(list(owns)).items():
            yield owns[key], data


def _kept(own: Path, data: bytes) -> bool:
    """Write a document that is not here; whether it replaced another one."""
    before = own.read_bytes() if own.is_file() else None
    if before != data:
        write_whole(own, data)
    return before not in (None, data)


def _inside(key: str, base: str) -> str:
    """The name of an object below the place.

    Raises:
        InputError: if it leads elsewhere.
    """
    name = key.removeprefix(base).lstrip("/")
    if not key.startswith(base) or any(part in ("", ".", "..") for part in name.split("/")) or "\\" in name:
        raise InputError(f"the results elsewhere hold an object {key!r}, which is outside of {base!r}; remove it")
    return name

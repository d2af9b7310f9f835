"""Trained models on disk, addressed by what determines their weights and checked by digest on every read."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from bench.core.canonical import canonical, digest, sha256_of
from bench.core.errors import CorruptArtifactError, InputError, StorageError
from bench.store.files import hold, locked, sync_folder, used, write_whole

_MANIFEST = "manifest.json"


class ModelCache:
    """Folders of weights with a manifest: the model's inputs and the SHA-256 of every file.

    Args:
        folder: The folder of the cache.
        rebuild: Rebuild a damaged model.
        leads: False in a process that helps another one to build: its files are discarded.
        meet: Waits until every building process has arrived.
        together: Whether several processes build one model.
        waiting: Called with a description of the process that builds a model, before it is waited for.
    """

    def __init__(
        self,
        folder: Path,
        *,
        rebuild: bool = False,
        leads: bool = True,
        meet: Callable[[], None] = lambda: None,
        together: bool = False,
        waiting: Callable[[str], None] = lambda holder: None,
    ) -> None:
        self._folder, self._rebuild, self._together = folder, rebuild, together
        self._leads, self._meet, self._waiting = leads, meet, waiting

    def fetch(self, made_from: dict[str, Any], build: Callable[[Path], None]) -> tuple[Path, str]:
        """The folder and digest of the model with the inputs ``made_from``, built if it does not exist.

        Args:
            made_from: Everything that determines the weights, JSON-like; its digest is the address.
            build: Writes the model's files to the empty folder that it is given.

        Raises:
            CorruptArtifactError: if a file differs from its manifest and a rebuild was not requested.
            StorageError: if the cache cannot be written.
        """
        folder = self._folder / digest(made_from)[:32]
        kept = self.find(made_from)
        if kept is not None:
            return kept
        # Concurrent commands build the same model once; processes that build together do not wait.
        with (
            nullcontext() if self._together else locked(folder.with_name(f"{folder.name}.lock"), waiting=self._waiting)
        ):
            return self._kept(folder) or self._built(folder, made_from, build)

    def find(self, made_from: dict[str, Any]) -> tuple[Path, str] | None:
        """The folder and digest of a stored model; None if there is none.

        Raises:
            CorruptArtifactError: as :meth:`fetch`.
        """
        return self._kept(self._folder / digest(made_from)[:32])

    def adopt(self, folder: Path) -> None:
        """Store a copy of a model of another cache, unless this one has it.

        Raises:
            CorruptArtifactError: if a file differs from its manifest.
            StorageError: if the cache cannot be written.
        """
        _check(folder)

        def copied(part: Path) -> None:
            shutil.copytree(folder, part, dirs_exist_ok=True)
            (part / _MANIFEST).unlink()

        ModelCache.fetch(self, _made_of(folder / _MANIFEST), copied)

    def _kept(self, folder: Path) -> tuple[Path, str] | None:
        hold(folder / _MANIFEST)
        if not folder.exists():
            return None
        try:
            found = _check(folder)
            used(folder / _MANIFEST)
            return folder, found
        except CorruptArtifactError:
            if not self._rebuild:
                raise
            shutil.rmtree(folder)
        return None

    def _built(self, folder: Path, made_from: dict[str, Any], build: Callable[[Path], None]) -> tuple[Path, str]:
        part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
        try:
            self._sweep(folder, part)
            part.mkdir(parents=True)
            build(part)
            files = {p.relative_to(part).as_posix(): sha256_of(p) for p in sorted(part.rglob("*")) if p.is_file()}
            write_whole(part / _MANIFEST, canonical({"files": files, "made_from": made_from}))
            if self._leads:
                _put(part, folder)
            hold(folder / _MANIFEST)
            self._meet()
        except (OSError, SafetensorError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or " ".join(str(error).split())
            raise StorageError(f"cannot write {folder}: {reason}; expected a writable BENCH_HOME with space") from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return folder, _check(folder)

    def _sweep(self, folder: Path, part: Path) -> None:
        """Remove leftovers of killed processes for this model; a process that builds alone holds its lock."""
        left = [part] if self._together else [part, *folder.parent.glob(f"{folder.name}.*.part")]
        for path in left:
            shutil.rmtree(path, ignore_errors=True)

    def workspace(self, made_from: dict[str, Any]) -> Path:
        """Folder of checkpoints and log for the training of this model."""
        return self._folder.parent / "training" / digest(made_from)[:32]

    def like(self, made_from: dict[str, Any]) -> tuple[Path, str] | None:
        """The stored model with inputs that include all of ``made_from``.

        Raises:
            InputError: if there are several, which is ambiguous.
            CorruptArtifactError: if one of its files differs from its manifest.
        """
        manifests = (p for p in self._folder.glob(f"*/{_MANIFEST}") if not p.parent.name.endswith(".part"))
        found = [p.parent for p in manifests if _made_of(p).items() >= made_from.items()]
        if not found:
            return None
        if len(found) > 1:
            raise InputError(f"{len(found)} stored models differ only in their training images or source file "
                             f"({', '.join(sorted(folder.name[:12] for folder in found))}); name those")  # fmt: skip
        hold(found[0] / _MANIFEST)
        return found[0], _check(found[0])


def _made_of(manifest: Path) -> dict[str, Any]:
    try:
        made: dict[str, Any] = json.loads(manifest.read_bytes())["made_from"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return made


def _put(part: Path, folder: Path) -> None:
    try:
        os.rename(part, folder)
    except OSError:
        if not (folder / _MANIFEST).exists():  # otherwise another process stored the same model first
            raise
    sync_folder(folder.parent)


def _check(folder: Path) -> str:
    """The digest of a stored model after checking every byte: files, manifest, and whether they belong together."""
    advice = "run again with --rebuild to rebuild it"
    try:
        data = (folder / _MANIFEST).read_bytes()
        manifest = json.loads(data)
        files: dict[str, str] = dict(manifest["files"])
        whole = canonical(manifest) == data and set(manifest) == {"files", "made_from"}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise CorruptArtifactError(f"cached model {folder} has no readable {_MANIFEST}; {advice}") from None
    if not whole or digest(manifest["made_from"])[:32] != folder.name:
        raise CorruptArtifactError(f"cached model {folder} has the {_MANIFEST} of another model, or a damaged one; "
                                   f"{advice}")  # fmt: skip
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} - {_MANIFEST}
    if more := sorted(there - set(files)):
        raise CorruptArtifactError(f"cached model {folder} holds {more[0]}, which its {_MANIFEST} does not; {advice}")
    for name, expected in files.items():
        path = folder / name
        got = sha256_of(path) if path.is_file() else "no file"
        if got != expected:
            raise CorruptArtifactError(
                f"cached checkpoint {path} has SHA-256 {got[:12]}, expected {expected[:12]} from its manifest; {advice}"
            )
    return digest(manifest)

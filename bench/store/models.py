"""Trained models on disk, addressed by what they are made from and checked by digest on every read."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from bench.core.canonical import canonical, digest, sha256_of
from bench.core.errors import CorruptArtifactError, InputError, StorageError
from bench.store.files import locked, sync_folder, write_whole

_MANIFEST = "manifest.json"


class ModelCache:
    """Folders of weights with a manifest: what they were made from and the SHA-256 of every file.

    Args:
        folder: Where they are.
        rebuild: Make a damaged one anew.
        leads: False in a process that helps another one to build: what it leaves is thrown away.
        meet: Waits until every process that builds is there.
        together: Several processes build one model.
    """

    def __init__(
        self,
        folder: Path,
        *,
        rebuild: bool = False,
        leads: bool = True,
        meet: Callable[[], None] = lambda: None,
        together: bool = False,
    ) -> None:
        self._folder, self._rebuild, self._together = folder, rebuild, together
        self._leads, self._meet = leads, meet

    def fetch(self, made_from: dict[str, Any], build: Callable[[Path], None]) -> tuple[Path, str]:
        """The folder of the model made from ``made_from``, built when it is not there, and the model's digest.

        Args:
            made_from: Everything that decides the weights, JSON-like; its digest is the address.
            build: Leaves the model's files in the empty folder it is given.

        Raises:
            CorruptArtifactError: a file differs from its manifest and a rebuild was not asked for.
            StorageError: the cache cannot be written.
        """
        folder = self._folder / digest(made_from)[:32]
        kept = self._kept(folder)
        if kept is not None:
            return kept
        # Commands that want the same model at the same time build it once; processes that build together do not wait.
        with nullcontext() if self._together else locked(folder.with_name(f"{folder.name}.lock")):
            return self._kept(folder) or self._built(folder, made_from, build)

    def _kept(self, folder: Path) -> tuple[Path, str] | None:
        if not folder.exists():
            return None
        try:
            return folder, _check(folder)
        except CorruptArtifactError:
            if not self._rebuild:
                raise
            shutil.rmtree(folder)
        return None

    def _built(self, folder: Path, made_from: dict[str, Any], build: Callable[[Path], None]) -> tuple[Path, str]:
        part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
        try:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            build(part)
            files = {p.relative_to(part).as_posix(): sha256_of(p) for p in sorted(part.rglob("*")) if p.is_file()}
            write_whole(part / _MANIFEST, canonical({"files": files, "made_from": made_from}))
            if self._leads:
                _put(part, folder)
            self._meet()
        except OSError as error:
            raise StorageError(f"cannot write {folder}: {error.strerror}; expected a writable BENCH_HOME") from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return folder, _check(folder)

    def workspace(self, made_from: dict[str, Any]) -> Path:
        """Where the training of this model keeps checkpoints and its log."""
        return self._folder.parent / "training" / digest(made_from)[:32]

    def like(self, made_from: dict[str, Any]) -> tuple[Path, str] | None:
        """The kept model whose make has all of ``made_from``, and perhaps more.

        Raises:
            InputError: several have, so nobody can say which is meant.
            CorruptArtifactError: a file of it differs from its manifest.
        """
        found = [p.parent for p in self._folder.glob(f"*/{_MANIFEST}") if _made_of(p).items() >= made_from.items()]
        if not found:
            return None
        if len(found) > 1:
            raise InputError(f"{len(found)} kept models differ only in the images or the file that they were made from "
                             f"({', '.join(sorted(folder.name[:12] for folder in found))}); name those")  # fmt: skip
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
        if not (folder / _MANIFEST).exists():  # else another process was first, with the same model
            raise
    sync_folder(folder.parent)


def _check(folder: Path) -> str:
    advice = "run again with --rebuild to make it anew"
    try:
        manifest = json.loads((folder / _MANIFEST).read_bytes())
        files: dict[str, str] = manifest["files"]
    except (OSError, ValueError, KeyError, TypeError):
        raise CorruptArtifactError(f"cached model {folder} has no readable {_MANIFEST}; {advice}") from None
    for name, expected in files.items():
        path = folder / name
        got = sha256_of(path) if path.is_file() else "no file"
        if got != expected:
            raise CorruptArtifactError(
                f"cached checkpoint {path} has SHA-256 {got[:12]}, expected {expected[:12]} from its manifest; {advice}"
            )
    return digest(manifest)

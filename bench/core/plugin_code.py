"""The digest of a plug-in's source: what tells two versions of a plug-in from outside this package apart."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import site
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from importlib.metadata import EntryPoint, packages_distributions
from pathlib import Path
from types import ModuleType

from bench.core.errors import InputError

PACKAGE, DISTRIBUTION = __name__.partition(".")[0], "keybench"


def is_packaged(point: EntryPoint) -> bool:
    """Whether a plug-in is part of this package."""
    name = point.dist.name if point.dist else ""
    return name.lower() == DISTRIBUTION and point.module.partition(".")[0] == PACKAGE


def code_of(point: EntryPoint) -> str:
    """SHA-256 over the files of a plug-in: its top-level module or package, and the modules that it comes with.

    These are the other modules of its distribution, and every module that one of them imports and that is not in an
    installed distribution, such as a file next to it.

    Raises:
        InputError: if its files cannot be found or read, or were edited after this process had loaded them.
    """
    top, dist = _home(point)
    found = _digest(top, dist)
    if top in sys.modules and _when_loaded(sys.modules[top], top, dist) != found:
        raise InputError(f"plug-in {point.name} was edited after this process had loaded it; expected a new process")
    return found


def remember(point: EntryPoint) -> None:
    """Note the code of a plug-in that was just loaded; see :func:`code_of`."""
    top, dist = _home(point)
    if top in sys.modules:
        _when_loaded(sys.modules[top], top, dist)


@cache
def _when_loaded(module: ModuleType, top: str, dist: str | None) -> str:
    """The code at the first call for this module object."""
    return _digest(top, dist)


def _home(point: EntryPoint) -> tuple[str, str | None]:
    """Top-level module and distribution of a plug-in."""
    return point.module.partition(".")[0], point.dist.name if point.dist else None


def _digest(top: str, dist: str | None) -> str:
    found = hashlib.sha256()
    for name, file in sorted(_files(top, dist).items()):
        try:
            content = hashlib.sha256(file.read_bytes()).hexdigest()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise InputError(f"{file} cannot be read: {reason}; it belongs to a plug-in, and a run names the code of "
                             "its plug-ins: make it readable") from None  # fmt: skip
        found.update(f"{name}\n{content}\n".encode("utf-8", "surrogateescape"))
    return found.hexdigest()


def _files(first: str, dist: str | None) -> dict[str, Path]:
    """The files by module and path within it."""
    waiting, out = [first, *_tops(dist)], dict[str, Path]()
    seen = {PACKAGE, *sys.stdlib_module_names} - {first}
    while waiting:
        top = waiting.pop()
        if top in seen:
            continue
        seen.add(top)
        files = dict(_module(top))
        if top == first and not files:
            raise InputError(f"module {top} of a plug-in has no file here, and a run names the code of its plug-ins; "
                             "expected it installed as files")  # fmt: skip
        out |= files
        waiting += [name for path in files.values() for name in _imported(path) if name not in seen and _is_loose(name)]
    return out


@cache
def _tops(dist: str | None) -> tuple[str, ...]:
    """Top-level names of a distribution, without the finders of editable installations."""
    names = sorted(top for top, dists in packages_distributions().items() if dist in dists)
    return tuple(top for top in names if not top.startswith(("__editable__", "_editable_impl")))


def _module(top: str) -> Iterator[tuple[str, Path]]:
    """Files of a top-level module or package, except caches and hidden ones; the archive of one in an archive."""
    spec = _spec(top)
    if spec is None:
        return
    for folder in map(Path, spec.submodule_search_locations or ()):
        for path in sorted(folder.rglob("*")):
            inner = path.relative_to(folder)
            if path.is_file() and not any(p.startswith(".") or p == "__pycache__" for p in inner.parts):
                yield f"{top}/{inner.as_posix()}", path
    archive = getattr(spec.loader, "archive", None)
    origin = Path(archive or spec.origin or "")
    if (archive or not spec.submodule_search_locations) and origin.is_file():
        yield f"{top}:{'' if archive else origin.suffix}", origin


def _imported(path: Path) -> Iterator[str]:
    """Top-level names that a Python file imports; none of a file that cannot be parsed."""
    if path.suffix != ".py":
        return
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def _is_loose(top: str) -> bool:
    """Whether a module is a file of the user's own, outside of what is installed."""
    spec = _spec(top)
    places = [*(spec.submodule_search_locations or ()), *([spec.origin] if spec.origin else [])] if spec else []
    installed = [Path(p).resolve() for p in (*site.getsitepackages(), site.getusersitepackages(),
                                             *map(sysconfig.get_path, ("purelib", "platlib", "stdlib")))]  # fmt: skip
    paths = [Path(place).resolve() for place in places]
    return any(path.exists() and not any(path.is_relative_to(room) for room in installed) for path in paths)


def _spec(top: str) -> importlib.machinery.ModuleSpec | None:
    try:
        return importlib.util.find_spec(top)
    except (ImportError, ValueError):  # ValueError: a module without a spec
        return None

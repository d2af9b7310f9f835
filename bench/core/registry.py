"""Plug-ins by name, from the entry points of installed distributions; built-in plug-ins use the same mechanism."""

from __future__ import annotations

import ast
import importlib
import importlib.util
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from bench.core.errors import BenchError, InputError, UnknownNameError
from bench.core.extras import lacks, require
from bench.core.names import KINDS, suggestion
from bench.core.plugin_code import code_of, is_packaged, remember
from bench.core.plugins import BASES, Plugin
from bench.core.plugins.contract import missing
from bench.core.plugins.plugin import adapted
from bench.core.profile import first_problem

T = TypeVar("T", bound=Plugin)


@dataclass(frozen=True)
class Entry:
    """One plug-in in `bench list`; ``error`` says why it cannot be imported."""

    kind: str
    name: str
    summary: str
    origin: str
    error: str | None = None


class Registry(Generic[T]):
    """The plug-ins of one kind."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._points: dict[str, EntryPoint] = {p.name: p for p in entry_points(group=f"bench.{kind}")}
        self._adaptations: dict[str, Any] = {}

    def names(self) -> list[str]:
        """Every registered name, whether or not it can be imported."""
        return sorted(self._points)

    def load(self, name: str) -> type[T]:
        """The class registered under ``name``.

        Raises:
            UnknownNameError: if nothing is registered under it; suggests similar names.
            InputError: if its module cannot be imported, or the class violates the declarations of its base.
        """
        one = self.kind.removesuffix("s")
        if name not in self._points:
            raise UnknownNameError(f"unknown {one} {name!r}{suggestion(name, self._points)}")
        try:
            plugin: type[T] = _whole(self._adapted(name), BASES[self.kind])
        except BenchError as error:
            raise InputError(f"{one} {name!r} cannot be used: {error}") from error
        except Exception as error:
            raise InputError(f"{one} {name!r} cannot be imported ({type(error).__name__}: {error})") from error
        return plugin

    def _adapted(self, name: str) -> Any:
        """The registered class; one that inherits from ``Plugin`` alone gets the base of its kind, once."""
        if name not in self._adaptations:
            plugin, base = self._points[name].load(), BASES[self.kind]
            if not is_packaged(self._points[name]):
                remember(self._points[name])
            bare = isinstance(plugin, type) and issubclass(plugin, Plugin) and not issubclass(plugin, base)
            self._adaptations[name] = adapted(plugin, base) if bare else plugin
        return self._adaptations[name]

    def code(self, name: str) -> str | None:
        """SHA-256 of the files of a plug-in from outside this package; None for one of its own, or an unknown name.

        Raises:
            InputError: if they cannot be read, or were edited after this process had loaded the plug-in.
        """
        point = self._points.get(name)
        return None if point is None or is_packaged(point) else code_of(point)

    def origin(self, name: str) -> str:
        """Distribution and version of a plug-in."""
        return _origin(self._points[name])

    def make(self, name: str, options: dict[str, Any] | None = None) -> T:
        """A plug-in with validated options.

        Raises:
            InputError: if an option is unknown or has an invalid value, or its package is not installed.
        """
        plugin = self.load(name)
        package: str | None = getattr(plugin, "package", None)
        if package is not None:
            require(package, f"{self.kind.removesuffix('s')} {name}")
        try:
            return plugin(**(options or {}))
        except ValidationError as error:
            unknown = [str(e["loc"][0]) for e in error.errors() if e["type"] == "extra_forbidden"]
            if unknown:
                raise InputError(
                    f"{name} has no option {unknown[0]!r}{suggestion(unknown[0], plugin.model_fields)} (of `--set`)"
                ) from None
            raise InputError(f"option of {name}: {first_problem(error)}") from None

    def describe(self) -> list[Entry]:
        """One line per plug-in. Built-in ones are parsed, not imported, so that listing stays fast."""
        return [_describe(self.kind, self._points[name]) for name in self.names()]


@cache
def registry(kind: str) -> Registry[Any]:
    """The registry of one of the six kinds.

    Raises:
        UnknownNameError: if there is no such kind.
    """
    if kind not in KINDS:
        raise UnknownNameError(f"unknown kind {kind!r}{suggestion(kind, KINDS)}")
    return Registry(kind)


def _whole(plugin: Any, base: type[Plugin]) -> Any:
    """Return the class if it inherits from the base of its kind and defines everything required.

    Raises:
        InputError: if it does not.
    """
    if not (isinstance(plugin, type) and issubclass(plugin, base)):
        raise InputError(f"{getattr(plugin, '__name__', plugin)} does not inherit from {base.__name__}; expected a "
                         f"class below bench.core.plugins.{base.__name__}")  # fmt: skip
    if names := missing(plugin):
        raise InputError(f"{plugin.__name__} has no {' and no '.join(names)}, which {base.__name__} requires")
    return plugin


def _origin(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "unknown"


def _describe(kind: str, point: EntryPoint) -> Entry:
    origin = _origin(point)
    try:
        if point.module.startswith("bench."):
            summary = _read_summary(point)
        else:
            summary = (_whole(point.load(), BASES[kind]).__doc__ or "").strip().partition("\n")[0]
    except BenchError as error:
        return Entry(kind, point.name, "", origin, str(error))
    except Exception as error:
        return Entry(kind, point.name, "", origin, f"{type(error).__name__}: {error}")
    return Entry(kind, point.name, summary, origin)


def _read_summary(point: EntryPoint) -> str:
    """First docstring line of the class, from the source; a missing module or import is an error here too."""
    spec = importlib.util.find_spec(point.module)
    if spec is None or spec.origin is None:
        raise BenchError(f"no module {point.module}")
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    for node in tree.body:
        for module in _imports(node):
            if importlib.util.find_spec(module.partition(".")[0]) is None:
                raise ModuleNotFoundError(f"No module named {module!r}")
        if isinstance(node, ast.ClassDef) and node.name == point.attr:
            if (problem := _lacking(node)) is not None:
                raise BenchError(problem)
            return (ast.get_docstring(node) or "").partition("\n")[0]
    raise BenchError(f"{point.module} has no class {point.attr}")


def _lacking(plugin: ast.ClassDef) -> str | None:
    """How to install the package that the class names, if it is missing."""
    for node in plugin.body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Constant)
            and "package" in map(_id, node.targets)
        ):
            return lacks(str(node.value.value))
    return None


def _id(target: ast.expr) -> str | None:
    return target.id if isinstance(target, ast.Name) else None


def _imports(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) and node.module else []

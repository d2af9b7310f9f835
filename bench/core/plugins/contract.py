"""The rules for the class of a plug-in: a name or a type that its base does not declare is refused.

A base such as ``Threat`` declares every attribute and method of its kind with its default. A subclass may override
them, and may have options (pydantic fields) and private names. Any other public name is treated as a mistake.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import EnumType
from functools import cache
from types import FunctionType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from bench.core.errors import InputError

if TYPE_CHECKING:
    overridable = property
else:

    class overridable:  # noqa: N801 (a decorator, read as property)
        """A default that a plug-in may override with a class attribute or an option.

        It is readable on instances only, so that pydantic does not use it as an option's default.
        """

        def __init__(self, default: Callable[[Any], Any]) -> None:
            self.default, self.__doc__ = default, default.__doc__

        def __get__(self, plugin: Any, owner: type | None = None) -> Any:
            """The default."""
            if plugin is None:
                raise AttributeError("a default is read from a plug-in, not from its class")
            return self.default(plugin)


@dataclass(frozen=True)
class Terms:
    """The names that the classes of one kind may define.

    Attributes:
        kind: Name of the kind, such as ``threat``.
        base: The base class of the kind.
        declared: Public names of attributes and methods.
    """

    kind: str
    base: type
    declared: frozenset[str]

    @classmethod
    def of(cls, kind: str, base: type, namespace: Mapping[str, Any]) -> Terms:
        """The terms of a base: all its public names."""
        names = {*namespace, *inspect.get_annotations(base)}
        return cls(kind, base, frozenset(name for name in names if not name.startswith("_")))

    def refuse_unknown(self, who: str, names: Iterable[str]) -> None:
        """Refuse an undeclared public name, with a similar declared one as suggestion.

        Raises:
            InputError: if there is one.
        """
        for name in names:
            if name.startswith("_") or name in self.declared or name in dir(self.base):
                continue
            near = self.near(name)
            hint = f"did you mean {near}?" if near else f"begin the name of a helper with an underscore: _{name}"
            raise InputError(f"{self.kind} {who} sets {name!r}, which no {self.kind} has; {hint}")

    def near(self, name: str) -> str | None:
        """The declared name that ``name`` may be a slip of."""
        return next(iter(difflib.get_close_matches(name, sorted(self.declared), n=1)), None)

    def refuse_options(self, who: str, options: Iterable[str]) -> None:
        """Refuse an option that would hide a class attribute or a method.

        Raises:
            InputError: if there is one.
        """
        for name in options:
            if name in self.declared and not isinstance(vars(self.base).get(name), overridable):
                raise InputError(f"{self.kind} {who} makes an option of {name!r}, which is not an option of a "
                                 f"{self.kind}; expected {name} without an annotation, or as ClassVar")  # fmt: skip

    def check(self, who: str, name: str, value: Any) -> None:
        """Refuse an attribute of another type than declared, and a method with an incompatible signature.

        Raises:
            InputError: with the expected type or signature.
        """
        asked = vars(self.base).get(name)
        if isinstance(asked, property):
            raise InputError(f"{self.kind} {who} sets {name!r}, which follows from its methods; expected it left out")
        if isinstance(asked, FunctionType):
            _check_method(f"{self.kind} {who}", name, value, asked)
        elif hint := _types(self.base).get(name):
            try:
                _adapter(hint).validate_python(value, strict=True)
            except ValidationError:
                raise InputError(f"{self.kind} {who} sets {name} to {_short(value)}; expected {_words(hint)}") from None


def missing(plugin: type[BaseModel]) -> list[str]:
    """Names that the base requires and that neither the class nor a parent defines."""
    given = {name for parent in plugin.__mro__ for name in vars(parent)} | set(plugin.model_fields)
    return sorted((plugin.__class_vars__ - given) | getattr(plugin, "__abstractmethods__", frozenset()))


def _check_method(who: str, name: str, value: Any, asked: FunctionType) -> None:
    """Check that ``value`` can be called like ``asked``."""
    if isinstance(value, classmethod | staticmethod):
        return
    wanted = inspect.signature(asked).parameters.values()
    plain = [p.name for p in wanted if p.kind is p.POSITIONAL_OR_KEYWORD]
    named = [p.name for p in wanted if p.kind is p.KEYWORD_ONLY]
    call = f"{name}({', '.join([*plain[1:], *(f'{n}=...' for n in named)])})"
    if not callable(value):
        raise InputError(f"{who} sets {name} to {_short(value)}; expected a method that is called as {call}")
    try:
        inspect.signature(value).bind(*plain, **dict.fromkeys(named))
    except TypeError as error:
        raise InputError(f"{who} cannot be called as {call}: {error}") from None


@cache
def _types(base: type) -> dict[str, Any]:
    """The types of a base's class attributes."""
    hints: dict[str, Any] = inspect.get_annotations(base, eval_str=True)
    found = {name: get_args(hint)[0] for name, hint in hints.items() if _origin(hint) is ClassVar}
    either: dict[str, Any] = {name: value for name, value in vars(base).items() if isinstance(value, overridable)}
    return found | {n: inspect.get_annotations(value.default, eval_str=True)["return"] for n, value in either.items()}


def _origin(hint: Any) -> Any:
    return get_origin(hint)


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))


def _words(hint: Any) -> str:
    """The name of a type in error messages."""
    if _origin(hint) is Literal:
        return f"one of {', '.join(map(str, get_args(hint)))}"
    if isinstance(hint, EnumType):
        return f"one of {', '.join(f'{hint.__name__}.{name}' for name in hint.__members__)}"
    if _origin(hint) is frozenset:
        return f"a frozenset of {get_args(hint)[0].__name__}"
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) < 60 else f"{text[:57]}..."

"""The base of all plug-ins: options as frozen pydantic fields, and a class restricted to its base's declarations."""

from __future__ import annotations

import re
import warnings
from types import FunctionType
from typing import TYPE_CHECKING, Any, ClassVar, cast

from pydantic import BaseModel, ConfigDict
from pydantic.errors import PydanticUserError

from bench.core.plugins.contract import Terms, overridable

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)


class Contract(ModelMetaclass):
    """Creates plug-in classes, and refuses those that violate their base's declarations.

    ``class Threat(Plugin, kind="threat")`` creates a base. ``class KeyedDefense(Defense, adds=("save",))`` declares
    further names for its subclasses.
    """

    __terms__: Terms | None  # None below no base

    def __new__(
        mcs,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        kind: str | None = None,
        adds: tuple[str, ...] = (),
        **keywords: Any,
    ) -> Any:
        """Create the class.

        Raises:
            InputError: if it sets what its base does not declare, or to a value that the base does not allow.
        """
        terms: Terms | None = next((b.__terms__ for b in bases if isinstance(b, Contract) and b.__terms__), None)
        held = {n: value for base in bases for n, value in _unchecked(base).items()}
        held |= namespace  # now, because pydantic adds to it
        try:
            with warnings.catch_warnings():  # instead of the warning, an option that hides an attribute is refused
                warnings.filterwarnings("ignore", message="Field name .* shadows an attribute in parent")
                cls: Any = super().__new__(mcs, name, bases, namespace, **keywords)
        except PydanticUserError as error:
            found = re.search(r"`(\w+) = ", error.message) if error.code == "model-field-missing-annotation" else None
            if terms and found:  # an attribute that is neither declared nor annotated
                terms.refuse_unknown(name, [found[1]])
                terms.check(name, found[1], held[found[1]])
            raise
        if kind:
            terms = Terms.of(kind, cls, held)
            cls.__class_vars__ |= {n for n, value in held.items() if isinstance(value, overridable)}
        elif terms:
            terms = Terms(terms.kind, terms.base, terms.declared | set(adds))
            _check(cls, terms, held)
        cls.__terms__ = terms
        return cls


def _unchecked(base: type) -> dict[str, Any]:
    """The namespace of a class that no terms were applied to: a mixin, or a plug-in that inherits from ``Plugin``."""
    if not isinstance(base, Contract):
        return dict(vars(base))
    if base.__terms__ is not None:
        return {}
    own = [c for c in reversed(base.__mro__) if isinstance(c, Contract) and c.__module__ != __name__]
    return {name: value for c in own for name, value in vars(c).items()}


class Plugin(BaseModel, metaclass=Contract):
    """Common base: frozen, its fields are its options, unknown options are refused.

    Attributes:
        package: A package that only this plug-in needs, by the name that it is imported with; it may be missing.
    """

    package: ClassVar[str | None] = None

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=() if TYPE_CHECKING else (overridable,))

    def options(self) -> dict[str, Any]:
        """The options, including defaults, as JSON-compatible data: part of the run's identity."""
        return self.model_dump(mode="json")


def adapted(plugin: type[Plugin], base: type[Plugin]) -> type[Plugin]:
    """A plug-in that inherits from ``Plugin`` alone, below the base of its kind: with its defaults and its checks.

    Raises:
        InputError: if it sets what the base does not declare, or to a value that the base does not allow.
    """
    helpers = {name for name, value in _unchecked(plugin).items() if isinstance(value, FunctionType | property)}
    about = {"__module__": plugin.__module__, "__doc__": plugin.__doc__, "__qualname__": plugin.__qualname__}
    terms = base.__terms__
    adds = tuple(sorted(name for name in helpers if terms and not terms.near(name)))
    return cast("type[Plugin]", Contract(plugin.__name__, (plugin, base), about, adds=adds))


def _check(cls: type[BaseModel], terms: Terms, held: dict[str, Any]) -> None:
    """Compare a class with the terms of its base; ``held`` is its own namespace."""
    own = {n: value for n, value in held.items()
           if n not in cls.model_fields and not type(value).__module__.startswith("pydantic.")}  # fmt: skip
    terms.refuse_unknown(cls.__name__, [*own, *sorted(cls.__class_vars__)])
    terms.refuse_options(cls.__name__, cls.model_fields)
    for name, value in own.items():
        terms.check(cls.__name__, name, value)

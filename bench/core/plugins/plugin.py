"""The base of all plug-ins: options as frozen pydantic fields, and a class restricted to its base's declarations."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any

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
        terms: Terms | None = next((b.__terms__ for b in bases if isinstance(b, Contract)), None)
        held = {n: value for base in bases if not isinstance(base, Contract) for n, value in vars(base).items()}
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


class Plugin(BaseModel, metaclass=Contract):
    """Common base: frozen, its fields are its options, unknown options are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=() if TYPE_CHECKING else (overridable,))

    def options(self) -> dict[str, Any]:
        """The options, including defaults, as JSON-compatible data: part of the run's identity."""
        return self.model_dump(mode="json")


def _check(cls: type[BaseModel], terms: Terms, held: dict[str, Any]) -> None:
    """Compare a class with the terms of its base; ``held`` is its own namespace."""
    own = {n: value for n, value in held.items()
           if n not in cls.model_fields and not type(value).__module__.startswith("pydantic.")}  # fmt: skip
    terms.refuse_unknown(cls.__name__, [*own, *sorted(cls.__class_vars__)])
    terms.refuse_options(cls.__name__, cls.model_fields)
    for name, value in own.items():
        terms.check(cls.__name__, name, value)

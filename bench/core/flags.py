"""User settings, declared once on the fields of a dataclass: for flags, environment, YAML and Python keywords."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from bench.core.errors import InputError
from bench.core.names import suggestion

Declared = TypeVar("Declared")


@dataclass(frozen=True)
class Flag:
    """Declaration of one field's flag.

    Attributes:
        help: Help text, with examples of values.
        name: The flag without dashes; empty for the field's name.
        env: The environment variable; None for ``BENCH_`` and the flag's name, empty for none.
        least: The smallest valid number.
        most: The largest valid number.
        switch: Whether the flag has no opposite ``--no-...``.
        parse: Converts what a user gives to the field's value, if its type alone does not determine that.
    """

    help: str
    name: str = ""
    env: str | None = None
    least: float | None = None
    most: float | None = None
    switch: bool = False
    parse: Callable[[Any], Any] | None = None


@dataclass(frozen=True)
class Option:
    """One field with its flag.

    Attributes:
        field: The name in Python.
        type: The annotation, without the flag.
        default: Its value, or ``dataclasses.MISSING``.
        flag: Its declaration.
    """

    field: str
    type: Any
    default: Any
    flag: Flag

    @property
    def name(self) -> str:
        """The flag without dashes, e.g. ``batch-size``."""
        return self.flag.name or self.field.replace("_", "-")

    @property
    def has_default(self) -> bool:
        """Whether the field may be left out."""
        return self.default is not MISSING

    @property
    def env(self) -> str | None:
        """The environment variable, e.g. ``BENCH_BATCH_SIZE``; None for none."""
        given = self.flag.env
        return f"BENCH_{self.name.upper().replace('-', '_')}" if given is None else given or None


def flag_of(annotation: Any) -> tuple[Any, Flag] | None:
    """The type and the flag of an annotation ``Annotated[type, Flag(...)]``; None for one that declares none."""
    if get_origin(annotation) is not Annotated:
        return None
    kind, *rest = get_args(annotation)
    flag = next((item for item in rest if isinstance(item, Flag)), None)
    return (kind, flag) if flag else None


def options_of(kind: type[Any]) -> dict[str, Option]:
    """All user settings of a dataclass, by field name."""
    hints = get_type_hints(kind, include_extras=True)
    out: dict[str, Option] = {}
    for field in dataclasses.fields(kind):
        if found := flag_of(hints[field.name]):
            made = field.default_factory() if field.default_factory is not MISSING else field.default
            out[field.name] = Option(field.name, found[0], made, found[1])
    return out


def build(kind: type[Declared], values: Mapping[str, Any]) -> Declared:
    """An object of a dataclass from loosely typed values, such as those of a YAML file or of Python keywords.

    Raises:
        InputError: if a name is unknown (similar ones are suggested), one is missing, or a value is invalid.
    """
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415 (slow, and `--help` does without)

    options = options_of(kind)
    for name in values:
        if name not in options:
            raise InputError(f"unknown option {name!r}{suggestion(name, options)}")
    given = {name: _parsed(options[name], value) for name, value in values.items()}
    try:
        made: Declared = TypeAdapter(kind).validate_python(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        if first["type"] in ("missing", "missing_argument"):
            raise InputError(f"{where} is missing; expected it, see `bench run --help`") from None
        raise InputError(f"option {where}: {first['msg'].lower()}, got {first['input']!r}") from None
    return made


def check_bounds(option: Option, value: Any) -> None:
    """Check that a number is within its limits.

    Raises:
        InputError: if it is not.
    """
    least, most = option.flag.least, option.flag.most
    if not isinstance(value, int | float):
        return
    if least is not None and value < least:
        raise InputError(f"--{option.name} is {value:g}; expected {least:g} or more")
    if most is not None and value > most:
        raise InputError(f"--{option.name} is {value:g}; expected {most:g} or less")


def _parsed(option: Option, value: Any) -> Any:
    check_bounds(option, value)
    if value is None or option.flag.parse is None:
        return value
    return option.flag.parse(value)

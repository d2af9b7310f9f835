"""Conversion of keyword arguments to the configuration."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from bench.core.errors import InputError
from bench.core.flags import build, options_of
from bench.core.names import suggestion
from bench.engine.request import Request, Resources, make_request, names_of

Function = TypeVar("Function", bound=Callable[..., Any])


def configured(options: Mapping[str, Any]) -> tuple[Request, Resources]:
    """Request and resources from keyword arguments.

    Raises:
        InputError: for an unknown name (similar ones are suggested), a missing one, or an invalid value.
    """
    _check_names(options, names_of(Request, Resources))
    resources = resources_of({name: options[name] for name in options if name in names_of(Resources)})
    asked = {name: options[name] for name in options if name in names_of(Request)}
    return make_request(asked, device=resources.device), resources


def resources_of(options: Mapping[str, Any]) -> Resources:
    """Folders and device, from keyword arguments.

    Raises:
        InputError: as :func:`configured`.
    """
    _check_names(options, names_of(Resources))
    return build(Resources, options)


def flags_of(options: Mapping[str, Any]) -> list[str]:
    """The flags of a command that ask for the same, for the record; folders and device are not part of it."""
    words: list[str] = []
    for name, option in options_of(Request).items():
        value = options.get(name)
        if name == "settings":
            for dotted, setting in (value or {}).items():
                words += ["--set", f"{dotted}={json.dumps(setting)}"]
        elif value is not None:
            words += [f"--{option.name}", str(option.flag.parse(value) if option.flag.parse else value)]
    return words


def _check_names(options: Mapping[str, Any], known: Collection[str]) -> None:
    for name in options:
        if name not in known:
            raise InputError(f"unknown option {name!r}{suggestion(name, known)}")


def documented(*kinds: type[Any], without: Collection[str] = ()) -> Callable[[Function], Function]:
    """Add the keyword arguments of ``kinds`` to the signature and the help of a function that accepts them all."""

    def decorate(function: Function) -> Function:
        options = {name: option for kind in kinds for name, option in options_of(kind).items() if name not in without}
        own = [p for p in inspect.signature(function).parameters.values() if p.kind is not p.VAR_KEYWORD]
        added = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if not option.has_default else option.default,
                annotation=option.type,
            )
            for name, option in options.items()
            if name not in {p.name for p in own}
        ]
        function.__signature__ = inspect.Signature([*own, *added])  # type: ignore[attr-defined]
        lines = "\n".join(f"    {name}: {option.flag.help}" for name, option in options.items())
        function.__doc__ = f"{inspect.cleandoc(function.__doc__ or '')}\n\nOptions:\n{lines}\n"
        return function

    return decorate

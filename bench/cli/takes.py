"""A command's flags, built from the fields of the configuration and from its own parameters."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import MISSING
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from bench.cli.config import load_config, merge_settings, parse_settings
from bench.core.flags import Flag, Option, build, check_bounds, flag_of, options_of
from bench.engine.request import Request, make_request

Command = Callable[..., None]

JsonFlag = Annotated[bool, Flag("Print JSON on standard output, and nothing else.", "json", switch=True)]
RunArgument = Annotated[str, typer.Argument(help="Run id, or its first digits.")]
_CONFIG = Option("config", str | None, None, Flag("Take flags from a YAML file; the command line overrides them."))
_LAST = ("config", "as_json")


def takes(
    *kinds: type[Any],
    only: Collection[str] | None = None,
    without: Collection[str] = (),
    fixed: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
    examples: Collection[str] = (),
) -> Callable[[Command], Command]:
    """Give a command the flags of ``kinds`` in addition to its own.

    The command receives one object of each kind, under the kind's name in lower case: ``request``, ``resources``. A
    command with ``--set`` also has ``--config``.

    Args:
        kinds: Dataclasses whose fields are declared with :class:`bench.core.flags.Flag`.
        only: The fields that are flags of this command; None for all.
        without: Fields that are not flags of this command.
        fixed: Values of fields that are not flags of this command.
        defaults: Defaults that differ from the fields'.
        examples: Command lines for the help.
    """

    def decorate(command: Command) -> Command:
        hidden = {*without, *(fixed or {})}
        by_kind = {
            kind: {
                name: option
                for name, option in options_of(kind).items()
                if name not in hidden and (only is None or name in only)
            }
            for kind in kinds
        }
        own = _own(command, {kind.__name__.lower() for kind in kinds})
        flags = {name: option for options in by_kind.values() for name, option in options.items()}

        def wrapper(**given: Any) -> None:
            for name, option in own.items():
                if isinstance(option, Option):
                    check_bounds(option, given[name])
            made = {kind.__name__.lower(): _object(kind, by_kind[kind], given, fixed or {}) for kind in kinds}
            command(**made, **{name: _own_value(option, given[name]) for name, option in own.items()})

        wrapper.__name__, wrapper.__module__ = command.__name__, command.__module__
        wrapper.__doc__ = _help(command, examples)
        parameters = list(_parameters(by_kind, own, flags, defaults or {}, inspect.signature(command)))
        wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
        return wrapper

    return decorate


def _own(command: Command, made: Collection[str]) -> dict[str, Any]:
    """The command's own parameters: options with flags, and arguments for typer."""
    hints = get_type_hints(command, include_extras=True)
    own: dict[str, Any] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        if name not in made:
            found = flag_of(hints[name])
            default = MISSING if parameter.default is parameter.empty else parameter.default
            own[name] = Option(name, found[0], default, found[1]) if found else hints[name]
    return own


def _own_value(option: Any, value: Any) -> Any:
    """Paths are text on the command line."""
    wants_path = isinstance(option, Option) and Path in (option.type, *get_args(option.type))
    return Path(value) if wants_path and isinstance(value, str) else value


def _object(kind: type[Any], options: Mapping[str, Option], given: Mapping[str, Any], fixed: Mapping[str, Any]) -> Any:
    values = {name: given[name] for name in options if given[name] is not None}
    values |= {name: value for name, value in fixed.items() if name in options_of(kind)}
    if "settings" in options:
        values["settings"] = parse_settings(given["settings"] or [])
    if kind is Request:
        return make_request(values, device=given.get("device", "cpu"))
    return build(kind, values)


def _parameters(
    by_kind: Mapping[type[Any], Mapping[str, Option]],
    own: Mapping[str, Any],
    flags: Mapping[str, Option],
    defaults: Mapping[str, Any],
    signature: inspect.Signature,
) -> Iterator[inspect.Parameter]:
    """Arguments, the first kind's flags, the command's own, those of the other kinds; common flags last."""
    yield from (_argument(signature.parameters[name], kind) for name, kind in own.items() if _is_argument(kind))
    seen = set()
    mine = [option for name, option in own.items() if isinstance(option, Option) and name not in _LAST]
    for place, options in enumerate(by_kind.values()):
        for name, option in options.items():
            if name not in seen:
                seen.add(name)
                yield _parameter(option, defaults.get(name, option.default))
        if place == 0:
            yield from (_parameter(option, option.default) for option in mine)
            mine = []
    yield from (_parameter(option, option.default) for option in mine)
    if "settings" in flags:
        yield _parameter(_CONFIG, None, callback=load_config, is_eager=True)
    if isinstance(json := own.get("as_json"), Option):
        yield _parameter(json, json.default)


def _is_argument(kind: Any) -> bool:
    return not isinstance(kind, Option)


def _argument(parameter: inspect.Parameter, annotation: Any) -> inspect.Parameter:
    return parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=annotation)


def _parameter(option: Option, default: Any, **more: Any) -> inspect.Parameter:
    flag = option.flag
    if option.field == "settings":
        more |= {"callback": merge_settings, "metavar": "SECTION.NAME=VALUE"}
    declared = [f"--{option.name}"] if flag.name or flag.switch else []
    made = typer.Option(*declared, envvar=option.env, help=flag.help, **more)
    return inspect.Parameter(
        option.field,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if default is MISSING else _typed(default),
        annotation=Annotated[_told(option.type), made],
    )


def _told(kind: Any) -> Any:
    """The command line type: names and paths are text, settings a list of pairs."""
    if get_origin(kind) is dict:
        return list[str] | None
    if get_origin(kind) is types.UnionType:
        first, *rest = (_told(part) for part in get_args(kind))
        for part in rest:
            first = first | part
        return first
    return str if isinstance(kind, type) and issubclass(kind, Enum | Path) else kind


def _typed(default: Any) -> Any:
    if isinstance(default, dict):
        return None
    return str(default) if isinstance(default, Enum | Path) else default


def _help(command: Command, examples: Collection[str]) -> str:
    text = inspect.cleandoc(command.__doc__ or "")
    if not examples:
        return text
    return f"{text}\n\nExamples:\n\n\b\n" + "\n".join(f"  {line}" for line in examples)

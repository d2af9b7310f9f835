"""YAML that people write, as plain data: bounded in size, depth and aliases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.core.errors import InputError

_BYTES = 1 << 18
_NODES = 100_000  # after aliases are written out
_DEPTH = 50
_DEEP = f"nested too deep; expected at most {_DEPTH} levels"
_PLAIN = (str, int, float, bool, type(None))


def read_yaml(path: Path, what: str) -> Any:
    """The plain data of a YAML file.

    Args:
        path: The file.
        what: The file in error messages, such as ``config 'run.yaml'``.

    Raises:
        InputError: if it cannot be read, or as :func:`parse_yaml`.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise InputError(f"{what} cannot be read: {reason}") from None
    return parse_yaml(data, what)


def parse_yaml(data: bytes | str, what: str) -> Any:
    """YAML as mappings, lists, texts, numbers, truth values and null.

    Args:
        data: The YAML.
        what: As for :func:`read_yaml`.

    Raises:
        InputError: if it is not YAML in UTF-8, too large, nested too deep, grows by aliases, or holds anything else,
            such as a date.
    """
    import yaml  # noqa: PLC0415 (not for `--help`)

    if len(data) > _BYTES:
        raise InputError(f"{what} is too large; expected at most {_BYTES} bytes of YAML")
    try:
        loader = yaml.SafeLoader(data.decode("utf-8-sig") if isinstance(data, bytes) else data)
        node = loader.get_single_node()
        _count(node, what, 0, {})
        found = None if node is None else loader.construct_document(node)
    except InputError:
        raise
    except RecursionError:
        raise InputError(f"{what} is {_DEEP}") from None
    except Exception as error:  # beside its own errors, those of odd dates, numbers and tags
        raise InputError(f"{what} is not readable YAML: {' '.join(str(error).split())[:200]}") from None
    _check_plain(found, what)
    return found


def _count(node: Any, what: str, depth: int, counted: dict[int, int]) -> int:
    """Number of nodes with aliases written out; each node is visited once."""
    inner = getattr(node, "value", None)
    if not isinstance(inner, list):  # of a text
        return 1
    if depth == _DEPTH:
        raise InputError(f"{what} is {_DEEP}")
    if id(node) not in counted:
        parts = [part for item in inner for part in (item if isinstance(item, tuple) else (item,))]
        counted[id(node)] = 1 + sum(_count(part, what, depth + 1, counted) for part in parts)
    if counted[id(node)] > _NODES:
        raise InputError(f"{what} has more than {_NODES} values with its aliases written out")
    return counted[id(node)]


def _check_plain(value: Any, what: str) -> None:
    if isinstance(value, dict):
        for part in (*value.keys(), *value.values()):
            _check_plain(part, what)
    elif isinstance(value, list):
        for part in value:
            _check_plain(part, what)
    elif not isinstance(value, _PLAIN):
        raise InputError(f"{what} holds a {type(value).__name__} ({str(value)[:40]}); expected texts, numbers, lists "
                         "and mappings: put a text in quotes")  # fmt: skip

"""The installed robustbench, imported with the names that it needs and its requirements do not bring."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.core.errors import InputError
from bench.core.extras import require


def import_robustbench(module: str) -> Any:
    """A module of the installed robustbench, such as ``robustbench.model_zoo``.

    robustbench 1.1.1 imports ``autoattack``, which is on the package index only as ``pyautoattack``, and
    ``pkg_resources``, which newer releases of setuptools lack. Both names exist only while it is imported, so that
    nothing else in this environment changes.

    Raises:
        InputError: if it is not installed, or its import fails.
    """
    require("robustbench", "the zoo of RobustBench")
    try:
        with _lent(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it imports pkg_resources
            return importlib.import_module(module)
    except ImportError as error:
        raise InputError(f"robustbench cannot be imported ({error}); install it again: "
                         "`pip install 'keybench[robustbench]'`") from error  # fmt: skip


@contextmanager
def _lent() -> Iterator[None]:
    """The missing names in ``sys.modules``, and without them again afterwards."""
    lent: dict[str, types.ModuleType] = {}
    if _absent("autoattack"):
        lent["autoattack"] = importlib.import_module("pyautoattack")
        lent["autoattack.state"] = importlib.import_module("pyautoattack.state")
    if _absent("pkg_resources"):
        lent["pkg_resources"] = _pkg_resources()
    sys.modules.update(lent)
    try:
        yield
    finally:
        for name in lent:
            sys.modules.pop(name, None)


def _absent(name: str) -> bool:
    return name not in sys.modules and importlib.util.find_spec(name) is None


def _pkg_resources() -> types.ModuleType:
    """The one function that robustbench uses."""
    module = types.ModuleType("pkg_resources")

    def resource_filename(package: str, name: str) -> str:
        return str(Path(str(sys.modules[package].__file__)).parent / name)

    module.resource_filename = resource_filename  # type: ignore[attr-defined]
    return module

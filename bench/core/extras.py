"""Packages that only some plug-ins need: extras of this distribution, named when they are missing."""

from __future__ import annotations

import importlib.util

from bench.core.errors import InputError

# The extra of this distribution that installs each package.
EXTRAS = {
    "pyautoattack": "autoattack",
    "pyffx": "ffx",
    "robustbench": "robustbench",
    "gdown": "robustbench",
    "ray": "ray",
}


def lacks(package: str) -> str | None:
    """How to install a package that is not there, in a few words; None if it is there."""
    if importlib.util.find_spec(package) is not None:
        return None
    wanted = f"keybench[{EXTRAS[package]}]" if package in EXTRAS else package
    return f"needs the package {package}, which is not installed; install it with `pip install '{wanted}'`"


def require(package: str, what: str) -> None:
    """Check that a package is there before ``what`` starts.

    Raises:
        InputError: if it is not; the line says how to install it.
    """
    if (problem := lacks(package)) is not None:
        raise InputError(f"{what} {problem}")

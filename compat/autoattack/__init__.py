"""The official AutoAttack under the name that robustbench imports; on PyPI the package is pyautoattack."""

from pyautoattack import AutoAttack

__all__ = ["AutoAttack"]

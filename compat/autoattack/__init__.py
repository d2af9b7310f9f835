"""The official AutoAttack under the name that robustbench imports; its package calls itself pyautoattack."""

from pyautoattack import AutoAttack

__all__ = ["AutoAttack"]

"""bench: judge key-based adversarial defenses against a whole ladder of adversaries."""

from __future__ import annotations

__version__ = "0.1.0"

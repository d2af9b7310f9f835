"""See the package."""

from pyautoattack.state import EvaluationState

__all__ = ["EvaluationState"]

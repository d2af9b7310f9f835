"""Checks of a run's requirements before it starts."""

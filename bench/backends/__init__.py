"""Backends: where the work of a run is done."""

"""Attacks, one per file, looked up by name in the registry; they import core only."""

"""Defenses, one per file, looked up by name in the registry."""

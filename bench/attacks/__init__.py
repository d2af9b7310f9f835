"""Attacks, one a file, reached by name through the registry; they see core alone."""

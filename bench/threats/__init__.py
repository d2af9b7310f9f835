"""Threat models, one a file, reached by name through the registry."""

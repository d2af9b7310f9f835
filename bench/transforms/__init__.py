"""Key transforms, one a file, reached by name through the registry."""

"""The nouns, the plug-in protocols, the registry, errors and seeds. Imports nothing else of bench."""

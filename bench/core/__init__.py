"""The nouns, the plug-in protocols, the registry, errors and seeds. Imports no other room of bench."""

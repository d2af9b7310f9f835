"""Append-only records, verdicts and artifacts; the keyring. Partially written files are never read as complete."""

"""Append-only records, verdicts and artifacts; the keyring. Nothing half-written is ever read as whole."""

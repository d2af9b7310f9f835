"""Submitted archives: packed, checked, judged again; every claim is recomputed locally."""

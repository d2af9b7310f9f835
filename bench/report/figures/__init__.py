"""Figures: data in, a matplotlib Figure out; no file is read."""

"""Figures: functions from data to a matplotlib Figure; no file is read."""

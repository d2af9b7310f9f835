"""Estimates of what runs cost before they start: model calls, arithmetic, time, money, memory, disk."""

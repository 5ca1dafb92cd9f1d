"""Intervals, tests and bootstraps: pure functions on NumPy arrays."""

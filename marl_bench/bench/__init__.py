"""Benchmarks of this package's own speed, run by hand with `marl-bench bench`."""

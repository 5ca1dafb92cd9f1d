"""Comparison reports from records alone: files in, files out, no torch."""

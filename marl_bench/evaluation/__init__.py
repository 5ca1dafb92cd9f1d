"""Scores policies on held-out prompts."""

"""The shipped baseline plugins."""

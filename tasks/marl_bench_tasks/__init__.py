"""The shipped task plugins."""

"""Per-sample metrics."""

"""The method: pure tensor functions on macro actions; no state, no files, torch only."""

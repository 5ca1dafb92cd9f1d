"""Models and samples that were made elsewhere, put through the evaluator of a task."""

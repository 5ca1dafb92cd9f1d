"""What `marl-bench rule` shows of termination rules: definitions, cuts of real responses."""

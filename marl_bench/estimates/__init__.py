"""What a plan needs before anything runs: steps, work, memory and time on a named GPU. No torch."""

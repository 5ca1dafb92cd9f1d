"""Other ways to sample the policies of a finished run: the best of N, other temperatures."""

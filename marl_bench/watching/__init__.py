"""A look at a run from outside, while it works or after: reads its files, holds no lock, writes nothing. No torch."""

"""Runs programs that nobody trusts, and grades what they print or return: isolated processes, exact comparison, pass@k. No torch."""

"""What runs inside the sandbox: the helper that forks, and the programs' side of every exchange.

These modules run in an interpreter without site-packages, so they import the standard library and one another only.
"""

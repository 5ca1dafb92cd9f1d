"""The verb `marl-bench history`: parse, call one function, print."""


def history() -> None:
    """x."""

"""Tests on two-by-two tables of the same items under two arms."""

from marl_bench.statistics.paired import sign_test


def mcnemar_test(only_first: int, only_second: int) -> float:
    """Returns the exact two-sided p-value that both arms pass equally often, from the items that only one of them passes.

    2 P(X <= min(b, c)) with X ~ Binomial(b + c, 1/2), at most 1: the sign test on the discordant items. Items that both pass or both
    fail say nothing about the difference and do not enter. 1 where no item is discordant.

    Args:
        only_first: Items that the first arm passes and the second fails.
        only_second: Items that the second passes and the first fails.

    Raises:
        ValueError: A count is negative.

    Source: McNemar (1947), "Note on the sampling error of the difference between correlated proportions or percentages"; the exact
    form, not his chi-squared approximation.
    """
    return sign_test(only_first, only_second)

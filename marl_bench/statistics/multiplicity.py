"""Several tests at once: p-values adjusted so that the chance of any false alarm keeps the level."""

from collections.abc import Sequence


def holm_adjusted(p_values: Sequence[float]) -> list[float]:
    """Returns the p-values adjusted by Holm's step-down method, in the order given.

    With p sorted upwards, the i-th (from 1) becomes max over j <= i of min(1, (m - j + 1) p_j). A hypothesis is rejected at a level if
    its adjusted value is at most the level; the chance of one or more false rejections is then at most the level, whatever the
    dependence of the tests.

    Raises:
        ValueError: A value is no probability (NaN among them).

    Source: Holm (1979), "A simple sequentially rejective multiple test procedure".
    """
    wrong = [value for value in p_values if not 0 <= value <= 1]
    if wrong:
        raise ValueError(f"holm_adjusted: {wrong[0]} is no p-value; give numbers from 0 to 1.")
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted

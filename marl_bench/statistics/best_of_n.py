"""Best-of-N: what the best of n samples is worth, from N >= n samples of the same prompt.

The mean over all subsets of n samples, so that every sample counts and not the first n alone.
"""

import math
from collections import Counter
from collections.abc import Sequence


def choice_probabilities(scores: Sequence[float | None], n: int) -> list[float]:
    """Returns the probability of each sample to be the one of highest score among n drawn without replacement.

    Samples of equal score share the place; one without a score is never chosen, so the sum is below 1 where n samples may all be unscored.
    With the samples in falling order of score, those of one score behind b better ones are the best of a subset with probability
    (C(N - b, n) - C(N - b - size, n)) / C(N, n).

    Args:
        scores: What chooses, one a sample; None = unscored.
        n: Samples that the best is chosen of.

    Raises:
        ValueError: n is below 1 or above the number of samples.
    """
    count = len(scores)
    if not 1 <= n <= count:
        raise ValueError(f"best of {n} from {count} samples: needs 1 <= n <= {count}.")
    sizes = Counter(score for score in scores if score is not None)
    better, shares = 0, {}
    for score in sorted(sizes, reverse=True):
        # Subtracted as exact integers: as floats the shares of rare choices would cancel.
        best_here = math.comb(count - better, n) - math.comb(count - better - sizes[score], n)
        shares[score] = best_here / math.comb(count, n) / sizes[score]
        better += sizes[score]
    return [0.0 if score is None else shares[score] for score in scores]


def mean_of_chosen(probabilities: Sequence[float], values: Sequence[float | None]) -> float | None:
    """Returns the mean of the chosen samples' values, choices without a value left out; None if none has one.

    Raises:
        ValueError: Probabilities and values differ in number.
    """
    known = [(share, value) for share, value in zip(probabilities, values, strict=True) if value is not None]
    weight = math.fsum(share for share, _ in known)
    return math.fsum(share * value for share, value in known) / weight if weight > 0 else None


def best_of_n_kl(n: int) -> float:
    """Returns ln n - (n - 1) / n in nats: the most that best-of-n can be away from the policy it samples.

    It is the KL divergence itself where no two responses have the same score and each is improbable, and an upper bound elsewhere.

    Raises:
        ValueError: n is below 1.

    Source: Stiennon et al. (2020), "Learning to summarize from human feedback", appendix G.3; that it bounds: Beirami et al. (2024),
    "Theoretical guarantees on the best-of-n alignment policy", theorem 1.
    """
    if n < 1:
        raise ValueError(f"best_of_n_kl: n = {n}; give 1 or more.")
    return math.log(n) - (n - 1) / n

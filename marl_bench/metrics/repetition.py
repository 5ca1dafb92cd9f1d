"""How much of a response repeats itself."""

import re

from marl_bench.interfaces import MetricSpec
from marl_bench.metrics.per_sample import PerSample
from marl_bench.records import Prompt, Response

NGRAM_WORDS = 4


def repetition() -> PerSample:
    """Returns the metric: the share of a response's 4-grams of words that stood in it before; 0 for shorter responses."""
    return PerSample("repetition", _of_response, higher_is_better=False)


def repeated_share(text: str) -> float:
    """Returns the share of the 4-grams of words that stood in the text before, in [0, 1]."""
    words = re.findall(r"\w+", text.lower())
    ngrams = [tuple(words[start : start + NGRAM_WORDS]) for start in range(len(words) - NGRAM_WORDS + 1)]
    return 1 - len(set(ngrams)) / len(ngrams) if ngrams else 0.0


def _of_response(_prompt: Prompt, response: Response) -> float:
    return repeated_share(response.text)


METRIC = MetricSpec("repetition", "1", "share of the 4-grams of words that stood in the response before", repetition)

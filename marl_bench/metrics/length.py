"""How long a response is."""

import re

from marl_bench.interfaces import MetricSpec
from marl_bench.metrics.per_sample import PerSample
from marl_bench.records import Prompt, Response


def words() -> PerSample:
    """Returns the metric: words of a response; neither end is better."""
    return PerSample("words", _of_response)


def _of_response(_prompt: Prompt, response: Response) -> float:
    return float(len(re.findall(r"\w+", response.text)))


METRIC = MetricSpec("words", "1", "words of a response", words)

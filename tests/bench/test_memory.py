"""`marl-bench bench memory`: chunks of logits lower the peak that it measures, packs have no padding, a case that fails is named."""

import sys

import pytest

from marl_bench.bench import memory
from marl_bench.bench.memory_case import MemoryCase, Shape, measure
from marl_bench.errors import MarlBenchError

LARGE = Shape(hidden=16, layers=1, vocabulary=20_000, rows=4, prompt_tokens=16, response_tokens=48)


@pytest.mark.skipif(sys.platform != "linux", reason="the peak begins anew on Linux only")
def test_chunks_of_logits_lower_the_measured_peak():
    whole = measure(MemoryCase("all logits", {}, LARGE))
    chunked = measure(MemoryCase("chunks", {"logits_chunk_tokens": 8, "packing": True}, LARGE))
    assert chunked.notes == []
    # Responses of 6 to 48 tokens: one float32 copy of the logits of half of them alone is 4 x 24 x 20,000 x 4 bytes = 7.3 MiB.
    assert whole.update_mebibytes - chunked.update_mebibytes > 7.3
    assert whole.padding_share > 0
    assert chunked.padding_share == 0


@pytest.mark.soak  # a process of its own
def test_a_case_that_fails_is_named():
    with pytest.raises(MarlBenchError, match="bench memory, broken: the process failed"):
        memory._measured(MemoryCase("broken", {"no_such_option": 1}, LARGE))

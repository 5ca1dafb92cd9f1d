"""Keeps the best of several responses by the score, as best-of-N does."""

import dataclasses
import math
from collections.abc import Sequence

from marl_bench.interfaces import Task
from marl_bench.models.actors import Actors
from marl_bench.models.responses import SampledResponses
from marl_bench.records import Prompt
from marl_bench.score_parts import ToScore


def chosen(
    actors: Actors, task: Task, prompts: Sequence[Prompt], sampled: SampledResponses, *, best_of: int, size: int
) -> SampledResponses:
    """Returns of every `best_of` responses in a row the one with the highest score; unscored ones come last.

    Args:
        actors: Give the score.
        task: Gives rule rewards.
        prompts: One a response; those in a row are the same.
        sampled: The responses.
        best_of: Responses that one is chosen of.
        size: Responses a forward pass.
    """
    scores = actors.reward.scores(ToScore(task, prompts, sampled.responses, sampled.samples.tokens, size))
    values = [-math.inf if score is None else score for score in scores]
    rows = [max(range(start, start + best_of), key=values.__getitem__) for start in range(0, len(values), best_of)]
    kept = sampled.rows(rows)
    # Numbered anew: a sample index counts the samples that are evaluated, not those that were thrown away.
    responses = [
        dataclasses.replace(response, sample_index=response.sample_index // best_of) for response in kept.responses
    ]
    return dataclasses.replace(kept, responses=responses)

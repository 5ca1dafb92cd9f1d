"""Where an arm's rule cuts its evaluated responses, with the advantages that its trainer would compute: `macro_actions.jsonl` of a cell.

The models only read; nothing is sampled, and no random state is touched, so a cell with traces equals one without.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch

from marl_bench.batches import Rollout, Segmentation
from marl_bench.config import SamplingConfig
from marl_bench.disk_space import is_disk_full
from marl_bench.interfaces import PolicyBaseline
from marl_bench.macro.segmentation import check_partition
from marl_bench.macro_traces import MACRO_ACTIONS, MacroTrace
from marl_bench.models.actors import Actors
from marl_bench.models.responses import SampledResponses
from marl_bench.records import EvalSample
from marl_bench.run_dir import write_jsonl_atomically
from marl_bench.training.experience import token_rewards
from marl_bench.training.rollout import gathered

TRACED_SAMPLES = 200
"""So many evaluated samples of a cell, the first ones, get a trace."""


@dataclasses.dataclass(frozen=True)
class Tracing:
    """What the advantages of a cell are computed with.

    Attributes:
        baseline: Cuts and estimates.
        actors: Its models; without a critic there are no advantages.
        sampling: At which temperature log-probs are.
        kl_coef: Coefficient of the KL as it stood at the last update.
        score_std: Spread of the scores over SFT samples.
        score: Name of the score among the metrics of a sample.
    """

    baseline: PolicyBaseline
    actors: Actors
    sampling: SamplingConfig
    kl_coef: float
    score_std: float
    score: str


def write_macro_traces(
    folder: Path, tracing: Tracing, sampled: SampledResponses, samples: Sequence[EvalSample]
) -> list[str]:
    """Writes the traces of a cell's first samples into its folder; returns what went wrong, as problems of its record.

    A result is not lost for a picture of it: whatever fails here leaves the cell without traces, and a sentence that says so.

    Args:
        folder: Of the cell.
        tracing: How the advantages are computed.
        sampled: The evaluated responses as they were sampled.
        samples: The same with their metrics, row by row.
    """
    try:
        traces = macro_traces(tracing, sampled.first(TRACED_SAMPLES), samples[:TRACED_SAMPLES])
        write_jsonl_atomically(folder / MACRO_ACTIONS, (trace.to_json() for trace in traces))
    except Exception as error:  # whatever a rule or a baseline raises is reported
        if is_disk_full(error):  # nothing else could be written either
            raise
        return [
            f"{MACRO_ACTIONS}: the macro actions of the evaluated responses could not be written ({_first(error)})."
        ]
    return []


def macro_traces(tracing: Tracing, sampled: SampledResponses, samples: Sequence[EvalSample]) -> list[MacroTrace]:
    """Returns one trace a sample.

    Raises:
        SegmentationError: The baseline's macro actions do not partition the response tokens.
    """
    baseline, ppo = tracing.baseline, tracing.baseline.ppo
    rollout = gathered(tracing.actors, sampled, sampling=tracing.sampling, ppo=ppo, needs=baseline.needs | {"offsets"})
    segmentation = baseline.segment(rollout)
    check_partition(segmentation, rollout.tokens.response_mask)
    scores = [sample.metrics[tracing.score] for sample in samples]
    known = torch.tensor([0.0 if score is None else score for score in scores], device=rollout.token_values.device)
    rewards = token_rewards(rollout, known, ppo=ppo, kl_coef=tracing.kl_coef, score_std=tracing.score_std)
    estimated = baseline.advantages(rollout, segmentation, rewards).macro_advantages
    has_critic = tracing.actors.critic is not None
    traces = []
    for row, (sample, score) in enumerate(zip(samples, scores, strict=True)):
        real = (segmentation.macro_lengths[row] > 0).nonzero().squeeze(1)  # the released code has empty ones
        traces.append(
            MacroTrace(
                prompt_id=sample.prompt_id,
                sample_index=sample.response.sample_index,
                starts=_starts(rollout, segmentation, row),
                tokens=segmentation.macro_lengths[row, real].tolist(),
                advantages=estimated[row, real].tolist() if has_critic and score is not None else None,
            )
        )
    return traces


def _starts(rollout: Rollout, segmentation: Segmentation, row: int) -> list[int]:
    """Returns the character at which each macro action that has tokens begins."""
    assert rollout.token_offsets is not None  # asked for
    ids = segmentation.macro_ids[row][rollout.tokens.response_mask[row]].tolist()
    begins = [index for index, macro in enumerate(ids) if index == 0 or macro != ids[index - 1]]
    return [rollout.token_offsets[row][index][0] for index in begins]


def _first(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__

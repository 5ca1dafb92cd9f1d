"""Rule rewards in a rollout: computed beside the reference model, and left out where there is none."""

import dataclasses
import threading

import pytest
import torch

from marl_bench.config import PpoConfig, SamplingConfig
from marl_bench.errors import TrainingError
from marl_bench.training.rollout import roll_out


@dataclasses.dataclass(frozen=True)
class ScoredBy:
    """A task whose reward is a function."""

    function: object
    metrics: tuple = ()

    def score(self, prompts, responses):
        return self.function(prompts, responses)

    def oracle(self, prompts, responses):
        return None


def rolled_out(actors, function, prompts):
    return roll_out(
        actors,
        ScoredBy(function),
        prompts,
        sampling=SamplingConfig(max_response_tokens=6),
        ppo=PpoConfig(score_batch_size=4),
        needs=frozenset({"critic"}),
        seed_parts=(0, "test"),
    )


def test_the_reference_model_reads_while_the_reward_is_computed(make_actors, prompts):
    actors, reads = make_actors(), threading.Event()
    handle = actors.reference.register_forward_pre_hook(lambda *_: reads.set())

    def waits_for_the_reference(_prompts, responses):
        assert reads.wait(timeout=60), "the reference model waits for the reward"
        return [1.0] * len(responses)

    assert rolled_out(actors, waits_for_the_reference, prompts).scores.tolist() == [1.0] * len(prompts)
    handle.remove()


def test_responses_without_a_score_are_left_out_of_every_column(make_actors, prompts):
    actors = make_actors()
    whole = rolled_out(actors, lambda _, responses: [float(len(each.text)) for each in responses], prompts)
    part = rolled_out(
        actors,
        lambda _, responses: [float(len(each.text)) if row % 3 else None for row, each in enumerate(responses)],
        prompts,
    )
    kept = [row for row in range(len(prompts)) if row % 3]
    assert part.unscored == len(prompts) - len(kept)
    assert part.scores.tolist() == whole.scores[kept].tolist()
    assert [prompt.id for prompt in part.prompts] == [prompts[row].id for row in kept]
    assert [response.text for response in part.responses] == part.rollout.texts
    for name in ("token_log_probs", "token_ref_log_probs", "token_values", "token_entropies"):
        assert torch.equal(getattr(part.rollout, name), getattr(whole.rollout, name)[kept])
    assert torch.equal(part.rollout.tokens.response_ids, whole.rollout.tokens.response_ids[kept])
    assert list(part.rollout.row_seeds) == [whole.rollout.row_seeds[row] for row in kept]


def test_a_rollout_without_any_score_stops_the_training(make_actors, prompts):
    with pytest.raises(TrainingError, match="none of the 12 responses has a score"):
        rolled_out(make_actors(), lambda _, responses: [None] * len(responses), prompts)

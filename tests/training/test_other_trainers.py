"""Baselines that train by themselves, on a task with a rule reward: budget, what is scored, what is left."""

import random
from pathlib import Path

import pytest
import torch
from marl_bench_baselines.best_of_n import BestOfN
from marl_bench_baselines.dpo import Dpo
from marl_bench_baselines.grpo import Grpo
from marl_bench_baselines.rloo import Rloo

from marl_bench.cell import Worker
from marl_bench.config import SamplingConfig
from marl_bench.config_layers import resolve
from marl_bench.errors import ConfigError, DataError
from marl_bench.evaluation.best_of import chosen
from marl_bench.interfaces import TrainContext
from marl_bench.models.loading import load_policy, model_folder
from marl_bench.models.responses import respond, sampling_settings
from marl_bench.planning import make_plan
from marl_bench.records import PreferencePair, TaskData
from marl_bench.training.progress import NoProgress
from marl_bench.training.text_scores import TextScores


@pytest.fixture
def make_context(tmp_path, make_actors, letter_task, prompts, ppo):

    ppo = ppo.model_copy(update={"updates": 1, "minibatches": 2, "group_size": 3, "kl_coef": 0.05})

    def make(preferences=()):
        steps = []
        scores = TextScores(make_actors(), letter_task, ppo, 1.0)
        asked = []

        def score(asked_prompts, responses):
            asked.extend(zip(asked_prompts, responses, strict=True))
            return scores(asked_prompts, responses)

        context = TrainContext(
            sft=Path(model_folder("tiny")),
            reward_model=None,
            data=TaskData(sft=[], preferences=list(preferences), rl_prompts=prompts, eval_prompts=[]),
            cell=tmp_path,
            seed=0,
            ppo=ppo,
            sampling=SamplingConfig(max_response_tokens=12),
            updates=1,
            score=score,
            dtype="float32",
            step=lambda done, total, _: steps.append((done, total)),
        )
        return context, steps, asked

    return make


def moved(folder):
    before, after = (load_policy(str(path), dtype="float32") for path in ("tiny", folder))
    return any(not torch.equal(old, new) for old, new in zip(before.parameters(), after.parameters(), strict=True))


@pytest.mark.parametrize("trainer", [Rloo, Grpo])
def test_trl_trains_on_our_score_at_the_number_of_responses_of_ppo(make_context, trainer):
    context, steps, asked = make_context()
    found = trainer().train(context)
    assert (found.updates, found.responses_sampled) == (1, context.ppo.batch_size)
    assert found.tokens_sampled == sum(response.token_count for _, response in asked)
    assert all(response.token_count <= 12 for _, response in asked)
    assert steps[-1] == (2, 2)  # one update of two optimizer steps
    by_prompt = [prompt.id for prompt, _ in asked]
    assert sorted(by_prompt.count(name) for name in set(by_prompt)) == [3, 3]
    assert moved(found.path)


def test_dpo_learns_from_pairs_alone(make_context, prompts):
    pairs = [PreferencePair(prompt, " eee", " uuu") for prompt in prompts]
    context, steps, asked = make_context(pairs)
    found = Dpo().train(context)
    assert (found.responses_sampled, asked, steps[-1]) == (0, [], (2, 2))
    assert moved(found.path)


def planned(registry, root, **settings):
    return make_plan(resolve(preset="tiny", layers=[("test", settings)]), registry, out=root, jobs=1, threads=1)


def test_dpo_without_pairs_is_refused_before_any_training(registry, tmp_path):
    worker = Worker(planned(registry, tmp_path / "run", arms=["dpo"], task="apps"))
    with pytest.raises(
        DataError, match=r"arm 'dpo': learns from preference pairs, and the data have none; .* take rloo"
    ):
        worker.run_shared(NoProgress())


@pytest.mark.parametrize("arm", ["rloo", "grpo"])
def test_a_batch_that_is_no_whole_number_of_groups_is_refused_before_any_training(registry, tmp_path, arm):
    with pytest.raises(
        ConfigError, match=rf"arm '{arm}': TRL's trainer: ppo.batch_size 64 is no multiple of ppo.group_size 3"
    ):
        planned(registry, tmp_path, arms=[arm], ppo={"group_size": 3})


@pytest.mark.parametrize("arm", ["dpo", "rloo", "grpo"])
def test_an_adapter_that_would_have_no_effect_is_refused(registry, tmp_path, arm):
    with pytest.raises(
        ConfigError, match=rf"arm '{arm}': lora.rank is set, but TRL's own trainer trains all weights here"
    ):
        planned(registry, tmp_path, arms=[arm], lora={"rank": 4})
    planned(registry, tmp_path, arms=["best_of_n", "gspo", "sft"], lora={"rank": 4})


def test_several_processes_are_refused_before_any_training(registry, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="arm 'dpo': TRL's own trainer runs in one process here; leave the arm out"):
        planned(registry, tmp_path, arms=["dpo"])


def test_best_of_n_trains_nothing(make_context):
    context, _, asked = make_context()
    found = BestOfN().train(context)
    assert (found.path, found.best_of, asked) == (context.sft, 3, [])


def test_the_best_of_each_group_is_kept_with_its_own_index(make_actors, letter_task, prompts):
    actors = make_actors()
    rows = [prompt for prompt in prompts[:3] for _ in range(4)]
    settings = sampling_settings(SamplingConfig(max_response_tokens=8))
    sampled = respond(
        actors.sampler, actors.tokenizer, rows, settings=settings, batch_size=12, seed_parts=(0, "evaluation")
    )
    values = [random.Random(place).random() for place in range(12)]

    class Fixed:
        def score(self, asked, _responses):
            assert len(asked) == 12
            return [None if place == 5 else value for place, value in enumerate(values)]

    kept = chosen(actors, Fixed(), rows, sampled, best_of=2, size=12)
    best = [max((place, place + 1), key=lambda row: -1 if row == 5 else values[row]) for place in range(0, 12, 2)]
    assert [response.text for response in kept.responses] == [sampled.responses[row].text for row in best]
    assert kept.row_seeds == [sampled.row_seeds[row] for row in best]
    assert [(response.prompt_id, response.sample_index) for response in kept.responses] == [
        (prompt.id, index) for prompt in prompts[:3] for index in (0, 1)
    ]

"""A supervised stage that is cut off at any step, or after its end, gives the model of one that was not."""

import pytest
import torch

from marl_bench.config import CheckpointConfig, RewardModelConfig, SupervisedConfig
from marl_bench.errors import Interrupted
from marl_bench.models.loading import load_policy, load_reward_model, load_tokenizer, model_folder
from marl_bench.records import PreferencePair, Prompt, SftPair
from marl_bench.training.checkpoint import Checkpoints
from marl_bench.training.progress import NoProgress
from marl_bench.training.supervised import SupervisedRun, train_reward_model, train_sft

STEPS = 5
PROMPTS = [Prompt(str(number), f"Number {number} says: {'so ' * number}. TL;DR:") for number in range(6)]
# Six examples and batches of two: the second pass over the data begins within the training.
CHANGES = {"max_steps": STEPS, "batch_size": 2, "micro_batch_size": 1, "learning_rate": 1e-3}


class StopsAt(NoProgress):
    """Asks for a stop once a number of steps is done."""

    def __init__(self, step):
        self.at, self.done, self.before = step, 0, None

    def step(self, stage, done, total, **figures):
        self.done = done

    def resumed(self, stage, done, total):
        self.before = (stage, done, total)

    def stop_requested(self):
        return self.done + 1 >= self.at  # asked within the step


def sft(folder, progress, every_seconds=1e9):
    torch.manual_seed(0)
    tokenizer, model = load_tokenizer("tiny"), load_policy(model_folder("tiny"), dtype="float32")
    pairs = [SftPair(prompt, f"the {number} cats") for number, prompt in enumerate(PROMPTS)]
    store = None if folder is None else Checkpoints(folder, {}, CheckpointConfig(every_seconds=every_seconds))
    figures = train_sft(model, tokenizer, pairs, SupervisedRun(SupervisedConfig(**CHANGES), 16, 7, progress, store))
    return weights(model), figures


def reward_model(folder, progress, every_seconds=1e9):
    torch.manual_seed(0)
    tokenizer = load_tokenizer("tiny")
    model = load_reward_model(model_folder("tiny"), dtype="float32", pad_token_id=tokenizer.pad_token_id)
    torch.nn.init.normal_(model.score.weight, std=0.02, generator=torch.Generator().manual_seed(0))
    pairs = [PreferencePair(prompt, "a good one", f"bad {number}") for number, prompt in enumerate(PROMPTS)]
    store = None if folder is None else Checkpoints(folder, {}, CheckpointConfig(every_seconds=every_seconds))
    run = SupervisedRun(RewardModelConfig(**CHANGES), 16, 7, progress, store)
    return weights(model), train_reward_model(model, tokenizer, pairs, run)


def weights(model):
    return {name: weight.numpy().tobytes() for name, weight in model.state_dict().items()}


@pytest.mark.parametrize(("train", "stage"), [(sft, "sft"), (reward_model, "reward model")])
def test_a_stage_stopped_and_started_at_every_step_ends_as_one_that_was_not(tmp_path, train, stage):
    whole = train(None, NoProgress())
    seen = []
    for step in range(2, STEPS + 2, 2):
        progress = StopsAt(step)
        with pytest.raises(Interrupted):
            train(tmp_path, progress)
        seen.append(progress.before)
    last = StopsAt(99)
    assert train(tmp_path, last) == whole
    assert seen == [None, (stage, 2, STEPS), (stage, 4, STEPS)]
    # The third stop came at the end, where the weights alone are kept.
    assert last.before == (stage, STEPS, STEPS)
    assert last.done == 0
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".bin" or ".trainer" in path.name]

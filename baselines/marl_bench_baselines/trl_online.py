"""Online training by TRL's own RLOO and GRPO trainers, with the score and the budget of the shared trainer."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

from marl_bench.config import RunConfig
from marl_bench.interfaces import PolicyFolder, TrainContext
from marl_bench.models.loading import load_tokenizer
from marl_bench.records import Response
from marl_bench_baselines.critic_free import check_groups
from marl_bench_baselines.trl_training import check_alone, common_arguments, train_and_save


@dataclasses.dataclass
class Scores:
    """The reward function that TRL calls, which counts what was sampled."""

    context: TrainContext
    eos_id: int
    responses: int = 0
    tokens: int = 0
    __name__: str = "score"

    def __call__(
        self, completions: Sequence[str], completion_ids: Sequence[Sequence[int]], place: Sequence[int], **_: Any
    ) -> list[float | None]:
        """Returns one score a completion; `place` is that of its prompt in the data."""
        limit = self.context.sampling.max_response_tokens
        prompts = [self.context.data.rl_prompts[index] for index in place]
        rows = zip(prompts, completions, completion_ids, strict=True)
        responses = [
            Response(prompt.id, text, len(ids), self.eos_id in ids or len(ids) < limit) for prompt, text, ids in rows
        ]
        self.responses += len(responses)
        self.tokens += sum(map(len, completion_ids))
        return list(self.context.score(prompts, responses))


def check_online(config: RunConfig) -> None:
    """Checks before any work what these trainers cannot do.

    Raises:
        ConfigError: A batch is no whole number of groups, or an adapter is asked for.
    """
    check_groups(config.ppo, baseline="TRL's trainer")
    check_alone(config)


def train_online(context: TrainContext, trainer: Any, config: Any) -> PolicyFolder:
    """Trains with a trainer of TRL, as many responses as PPO samples.

    Args:
        context: What the cell gives.
        trainer: Class of the trainer.
        config: Class of its configuration.
    """
    ppo, sampling = context.ppo, context.sampling
    scores = Scores(context, load_tokenizer(str(context.sft)).eos_token_id)
    rows = [{"prompt": prompt.text, "place": place} for place, prompt in enumerate(context.data.rl_prompts)]

    def arguments(scratch: str) -> Any:
        return config(
            output_dir=scratch,
            per_device_train_batch_size=ppo.batch_size // ppo.minibatches,
            steps_per_generation=ppo.minibatches,
            num_iterations=ppo.ppo_epochs,
            num_generations=ppo.group_size,
            max_completion_length=sampling.max_response_tokens,
            temperature=sampling.temperature,
            top_k=sampling.top_k or 0,
            top_p=sampling.top_p,
            beta=ppo.kl_coef,
            epsilon=ppo.clip_range,
            **common_arguments(context),
        )

    make = functools.partial(trainer, reward_funcs=[scores])
    folder = train_and_save(context, make, rows, arguments)
    return PolicyFolder(folder, context.updates, scores.responses, scores.tokens)

"""DPO on the task's preference pairs, by TRL's own trainer: no reward model, no sampling."""

import functools
from typing import Any

from marl_bench.interfaces import BaselineSpec, PolicyFolder, TrainContext
from marl_bench_baselines.trl_training import check_alone, common_arguments, train_and_save


class Dpo:
    """As many optimizer steps as PPO takes, each on as many pairs as PPO's have responses; beta is the KL coefficient."""

    def train(self, context: TrainContext) -> PolicyFolder:
        """Trains and returns the policy."""
        from trl import DPOConfig, DPOTrainer

        pairs = context.data.preferences
        ppo, sampling = context.ppo, context.sampling
        # Shorter batches than PPO's where there are fewer pairs than a batch holds.
        size = min(max(1, ppo.batch_size // ppo.minibatches), len(pairs))
        rows = [{"prompt": pair.prompt.text, "chosen": pair.chosen, "rejected": pair.rejected} for pair in pairs]

        def arguments(scratch: str) -> Any:
            return DPOConfig(
                output_dir=scratch,
                per_device_train_batch_size=size,
                beta=ppo.kl_coef,
                max_length=sampling.max_prompt_tokens + sampling.max_response_tokens,
                **common_arguments(context),
            )

        return PolicyFolder(train_and_save(context, functools.partial(DPOTrainer), rows, arguments), context.updates)


BASELINE = BaselineSpec(
    id="dpo",
    version="1",
    summary="DPO on the preference pairs (TRL); beta is ppo.kl_coef",
    build=Dpo,
    kind="trainer",
    check=check_alone,
    learns_pairs=True,
)

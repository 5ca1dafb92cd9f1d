"""GRPO by TRL's own trainer, unmodified."""

from marl_bench.interfaces import BaselineSpec, PolicyFolder, TrainContext
from marl_bench_baselines.trl_online import check_online, train_online


class Grpo:
    """Groups of `ppo.group_size` responses; batch, learning rate, clipping and KL coefficient (beta) as in the shared trainer."""

    def train(self, context: TrainContext) -> PolicyFolder:
        """Trains and returns the policy."""
        from trl import GRPOConfig, GRPOTrainer

        return train_online(context, GRPOTrainer, GRPOConfig)


BASELINE = BaselineSpec(
    id="grpo",
    version="1",
    summary="GRPO by TRL's trainer, at PPO's number of sampled responses",
    build=Grpo,
    kind="trainer",
    check=check_online,
    samples=True,
)

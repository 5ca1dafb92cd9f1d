"""Best-of-N: no training; of several responses of the SFT model the one with the highest score is taken."""

from marl_bench.interfaces import BaselineSpec, PolicyFolder, TrainContext


class BestOfN:
    """Samples `ppo.group_size` responses a prompt where the policy is used."""

    def train(self, context: TrainContext) -> PolicyFolder:
        """Returns the SFT model's folder."""
        return PolicyFolder(context.sft, best_of=context.ppo.group_size)


BASELINE = BaselineSpec(
    id="best_of_n",
    version="1",
    summary="the SFT model with the best of group_size responses by the score; costs sampling where it is used",
    build=BestOfN,
    kind="trainer",
)

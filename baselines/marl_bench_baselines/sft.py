"""The start of every arm: the SFT model as it is."""

from marl_bench.interfaces import BaselineSpec, PolicyFolder, TrainContext


class NoTraining:
    """Evaluates the SFT model itself."""

    def train(self, context: TrainContext) -> PolicyFolder:
        """Returns the SFT model's folder."""
        return PolicyFolder(context.sft)


BASELINE = BaselineSpec(
    id="sft",
    version="1",
    summary="the supervised model that all arms start from",
    build=NoTraining,
    kind="trainer",
    role="start",
)

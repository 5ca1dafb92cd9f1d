"""The start of every arm: the SFT model as it is."""

from pathlib import Path

from marl_bench.interfaces import BaselineSpec, TrainContext


class NoTraining:
    """Evaluates the SFT model itself."""

    def train(self, context: TrainContext) -> Path:
        """Returns the SFT model's folder."""
        return context.sft


BASELINE = BaselineSpec(
    id="sft",
    version="1",
    summary="the supervised model that all arms start from",
    build=NoTraining,
    kind="trainer",
    role="start",
)

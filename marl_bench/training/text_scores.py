"""The score of texts, for trainers that know no tokens of ours."""

import dataclasses
from collections.abc import Sequence

import torch

from marl_bench.config import PpoConfig
from marl_bench.interfaces import Task
from marl_bench.models.actors import Actors
from marl_bench.models.reading import encode_samples
from marl_bench.records import EvalSample, Prompt, Response
from marl_bench.score_parts import ToScore
from marl_bench.training.experience import shaped_scores


@dataclasses.dataclass(frozen=True)
class TextScores:
    """Scores responses as PPO's reward has them.

    Attributes:
        actors: Give the reward.
        task: Gives rule rewards.
        ppo: How scores are shaped.
        score_std: Spread of the scores over SFT samples.
    """

    actors: Actors
    task: Task
    ppo: PpoConfig
    score_std: float

    def __call__(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> list[float | None]:
        """Returns one score a response, None = unscored."""
        samples = [
            EvalSample(prompt.id, prompt.subset, prompt.text, response, {})
            for prompt, response in zip(prompts, responses, strict=True)
        ]
        tokens = encode_samples(samples, self.actors.tokenizer, device=self.actors.policy.device)
        size = self.ppo.score_batch_size
        scores = self.actors.reward.scores(ToScore(self.task, prompts, responses, tokens, size))
        known = torch.tensor([0.0 if score is None else score for score in scores])
        finished = torch.tensor([response.finished is not False for response in responses])
        shaped = shaped_scores(known, finished, ppo=self.ppo, score_std=self.score_std).tolist()
        return [None if score is None else value for score, value in zip(scores, shaped, strict=True)]

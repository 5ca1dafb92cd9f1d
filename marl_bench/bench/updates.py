"""An update of macro PPO against one of token PPO on the same rollout: what macro actions cost."""

import dataclasses
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import Accelerator

from marl_bench.bench.clock import clock
from marl_bench.config import PpoConfig, SamplingConfig
from marl_bench.errors import ConfigError
from marl_bench.interfaces import PolicyBaseline, PolicyContext, Task
from marl_bench.models.actors import load_actors
from marl_bench.models.loading import model_folder
from marl_bench.planning import build_rule, plan_rule
from marl_bench.plugins import Registry
from marl_bench.records import Prompt, Response
from marl_bench.statistics.intervals import Interval, mean_interval
from marl_bench.training.experience import prepare_experience, token_rewards
from marl_bench.training.rollout import roll_out
from marl_bench.training.update import Learner, UpdateSettings, make_optimizers, minibatch_order, update

_NEEDS = frozenset({"critic", "values", "ref_logprobs", "text", "offsets"})


@dataclasses.dataclass(frozen=True)
class UpdateComparison:
    """Interleaved pairs of updates.

    Attributes:
        rule: Canonical rule text of the macro arm.
        token_seconds: Of token PPO, a value a pair.
        macro_seconds: Of macro PPO, a value a pair.
    """

    rule: str
    token_seconds: Sequence[float]
    macro_seconds: Sequence[float]

    @property
    def ratio(self) -> Interval:
        """Geometric mean of the pairs' ratios with its 95 % interval (Student t on logarithms)."""
        pairs = zip(self.macro_seconds, self.token_seconds, strict=True)
        found = mean_interval([math.log(macro / token) for macro, token in pairs])
        if found is None:
            raise ConfigError("bench macro: one pair has no interval; give --repeats of at least 2.")
        return Interval(math.exp(found.estimate), math.exp(found.low), math.exp(found.high))


class UpdateBench:
    """One rollout of the shipped tiny model, on which any arm can be updated again and again from the same weights."""

    def __init__(self, registry: Registry, *, responses: int, max_response_tokens: int, device: torch.device) -> None:
        """Samples the rollout."""
        self._registry, self._device = registry, device
        folder = Path(model_folder("tiny"))
        torch.manual_seed(0)
        self._actors = load_actors(
            policy=folder, sft=folder, reward_model=None, dtype="float32", critic_scale=1.0, device=device
        )
        self._ppo = PpoConfig(batch_size=responses, micro_batch_size=8, score_batch_size=8, schedule="constant")
        self._sampling = SamplingConfig(max_response_tokens=max_response_tokens)
        prompts = [Prompt(str(number), f"POST: story number {number}. TL;DR:") for number in range(responses)]
        task: Task = _RandomReward()  # type: ignore[assignment]  # only its score is asked for
        self._scored = roll_out(
            self._actors,
            task,
            prompts,
            sampling=self._sampling,
            ppo=self._ppo,
            needs=_NEEDS,
            seed_parts=(0, "bench"),
        )
        models = (self._actors.policy, self._actors.critic)
        self._weights = [
            (model, {name: tensor.clone() for name, tensor in model.state_dict().items()})
            for model in models
            if model is not None
        ]
        self._accelerator = Accelerator(cpu=device.type == "cpu")

    @property
    def mean_tokens(self) -> float:
        """Mean tokens of a response."""
        return float(self._scored.rollout.tokens.response_mask.sum(dim=1).float().mean())

    def compare(self, rule: str, *, pairs: int) -> UpdateComparison:
        """Times pairs of updates, the first of a pair in turn token PPO and macro PPO, after one of each that does not count."""
        arms = {"token_ppo": self._baseline("token_ppo", None), "macro_ppo": self._baseline("macro_ppo", rule)}
        seconds: dict[str, list[float]] = {name: [] for name in arms}
        for pair in range(pairs + 1):
            for name in sorted(arms, reverse=bool(pair % 2)):
                taken = self._update_seconds(arms[name])
                if pair:
                    seconds[name].append(taken)
        return UpdateComparison(rule, seconds["token_ppo"], seconds["macro_ppo"])

    def segment_seconds(self, rule: str, *, repeats: int = 5) -> float:
        """Returns the median time of cutting the rollout with a rule.

        Raises:
            ConfigError: A parser is not installed.
        """
        built = build_rule(plan_rule(rule, self._registry), self._registry)
        found = []
        for _ in range(repeats):
            began = clock(self._device)
            built.segment(self._scored.rollout)
            found.append(clock(self._device) - began)
        return statistics.median(found)

    def _baseline(self, name: str, rule: str | None) -> PolicyBaseline:
        built = build_rule(plan_rule(rule, self._registry), self._registry) if rule is not None else None
        context = PolicyContext(self._ppo, built, built.nominal_length if built else None)
        baseline: PolicyBaseline = self._registry.baseline(name).build(context)  # type: ignore[assignment]  # both are policy baselines
        return baseline

    def _update_seconds(self, baseline: PolicyBaseline) -> float:
        """Returns the time from the scored rollout to new weights."""
        for model, weights in self._weights:
            model.load_state_dict(weights)
        ppo = self._ppo
        optimizers = make_optimizers(self._actors, ppo, steps=1)
        learner = Learner(self._actors, optimizers, self._accelerator, baseline)
        settings = UpdateSettings(
            ppo=ppo,
            temperature=1.0,
            kl_coef=ppo.kl_coef,
            exact=True,
            where="bench macro",
        )
        began = clock(self._device)
        rollout, scores = self._scored.rollout, self._scored.scores
        rewards = token_rewards(rollout, scores, ppo=ppo, kl_coef=ppo.kl_coef, score_std=1.0)
        prepared = prepare_experience(baseline, rollout, rewards, ppo=ppo)
        order = minibatch_order(len(rollout.tokens), ppo, torch.Generator().manual_seed(0))
        update(learner, prepared.experience, order, settings=settings)
        return clock(self._device) - began


class _RandomReward:
    """Scores that cost nothing and mean nothing."""

    def score(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> list[float]:
        """Returns a number for each response."""
        return [
            math.sin(len(response.text) + int(prompt.id)) for prompt, response in zip(prompts, responses, strict=True)
        ]

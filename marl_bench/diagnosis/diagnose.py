"""From a finished run to how good the advantages of each rule are on fresh responses of its policy."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from marl_bench.config import PpoConfig
from marl_bench.diagnosis.advantages import (
    MacroAction,
    Quality,
    chosen_macros,
    compare_advantages,
    quality,
    states_of,
)
from marl_bench.diagnosis.monte_carlo import Objective, state_values
from marl_bench.finished_run import FinishedRun
from marl_bench.interfaces import PolicyBaseline, PolicyContext
from marl_bench.macro.segmentation import check_partition
from marl_bench.planning import Rule, plan_rule
from marl_bench.plugins import Registry
from marl_bench.records import Cell
from marl_bench.training.rollout import ScoredRollout, roll_out

DEFAULT_RULES = ("token", "fixed(n=5)", "fixed(n=10)", "perplexity(rule=macro)", "whole")
BASELINE = "macro_ppo"
"""Whose advantages are looked at; with the rule `token` they are those of token PPO."""


@dataclasses.dataclass(frozen=True)
class DiagnosisSize:
    """How much is sampled.

    Attributes:
        prompts: Held-out prompts, one response each.
        continuations: From each state.
        macro_actions: At most so many of a response and rule are compared, evenly spread.
        seed: Of all sampling.
    """

    prompts: int = 16
    continuations: int = 8
    macro_actions: int = 20
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """How good the advantages of each rule are.

    Attributes:
        cell: Folder name of the cell whose policy and critic were used.
        critic: Which critic it was.
        prompts: How many responses were sampled.
        continuations: From each state.
        sampled: Continuations in all.
        qualities: One a rule.
        actions: Canonical rule text to its macro actions.
    """

    cell: str
    critic: str
    prompts: int
    continuations: int
    sampled: int
    qualities: Sequence[Quality]
    actions: Mapping[str, Sequence[MacroAction]]


def rules_to_diagnose(run: FinishedRun, cell: Cell, texts: Sequence[str], registry: Registry) -> list[Rule]:
    """Returns the rules given, or the usual ones with the cell's own; each once.

    Raises:
        UnknownNameError: A rule or a parameter does not exist.
        ConfigError: A parameter has a wrong type or value.
    """
    arm = run.arm(cell)
    own = [arm.rule] if arm.rule is not None else []
    rules = [plan_rule(text, registry) for text in texts or DEFAULT_RULES] + ([] if texts else own)
    return list({rule.text: rule for rule in rules}.values())


def diagnose(run: FinishedRun, cell: Cell, rules: Sequence[Rule], size: DiagnosisSize) -> Diagnosis:
    """Samples responses of the cell's policy and continuations from the boundaries of all rules, and compares advantages.

    Raises:
        TrainingError: A score is not finite, or too many responses have none.
        SegmentationError: A rule does not return a partition.
    """
    arm, config = run.arm(cell), run.config
    ppo = arm.ppo(config)
    actors = run.actors(cell)
    baselines = _baselines(run, rules, ppo)
    kl_coef = float(cell.curve[-1]["kl_coef"]) if cell.curve else ppo.kl_coef
    objective = Objective(actors, run.task, config.sampling, ppo, kl_coef, run.stages.score_std)
    scored: ScoredRollout = roll_out(
        actors,
        run.task,
        run.data().eval_prompts[: size.prompts],
        sampling=config.sampling,
        ppo=ppo,
        needs=frozenset({"critic"}).union(*(baseline.needs for baseline in baselines.values())),
        seed_parts=(size.seed, "diagnose"),
    )
    rollout, mask = scored.rollout, scored.rollout.tokens.response_mask
    rewards = objective.rewards(rollout, scored.scores)
    segmentations = {name: baseline.segment(rollout) for name, baseline in baselines.items()}
    wanted = torch.zeros_like(mask)
    chosen = {}
    for name, parts in segmentations.items():
        check_partition(parts, mask)
        chosen[name] = chosen_macros(parts, most=size.macro_actions)
        wanted |= states_of(parts, chosen[name])
    found = state_values(objective, rollout, scored.prompts, wanted, continuations=size.continuations, seed=size.seed)
    actions = {
        name: compare_advantages(
            baseline, rollout, segmentations[name], rewards, found, chosen=chosen[name], prompts=scored.prompts
        )
        for name, baseline in baselines.items()
    }
    qualities = [
        quality(name, compared, rng=np.random.default_rng([size.seed, index]))
        for index, (name, compared) in enumerate(actions.items())
    ]
    return Diagnosis(
        run.folder(cell).name,
        run.critic_name(cell),
        len(scored.prompts),
        size.continuations,
        found.continuations,
        qualities,
        actions,
    )


def _baselines(run: FinishedRun, rules: Sequence[Rule], ppo: PpoConfig) -> dict[str, PolicyBaseline]:
    spec = run.registry.baseline(BASELINE)
    fitted = run.fitted(rules)
    return {
        rule.text: spec.build(PolicyContext(ppo, built, built.nominal_length))  # type: ignore[misc]  # it is a policy baseline
        for rule, built in zip(rules, fitted, strict=True)
    }

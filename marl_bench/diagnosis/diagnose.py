"""From a finished run to how good the advantages of each rule are on fresh responses of its policy."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from marl_bench.config import MethodOptions
from marl_bench.diagnosis.advantages import (
    MacroAction,
    Quality,
    chosen_macros,
    compare_advantages,
    quality,
    states_of,
)
from marl_bench.diagnosis.monte_carlo import Objective, state_values
from marl_bench.errors import ConfigError
from marl_bench.finished_run import FinishedRun
from marl_bench.interfaces import PolicyBaseline, PolicyContext
from marl_bench.macro.segmentation import check_partition
from marl_bench.planning import ArmPlan, plan_arm
from marl_bench.records import Cell
from marl_bench.training.rollout import ScoredRollout, roll_out

DEFAULT_RULES = ("token", "fixed(n=5)", "fixed(n=10)", "perplexity(rule=macro)", "whole")
BASELINE = "macro_ppo"
"""Whose advantages are looked at; with the rule `token` they are those of token PPO."""

ESTIMATE_OPTIONS = frozenset({*MethodOptions.model_fields, "gae_lambda"} - {"score_clip"})
"""Options of the `ppo` section that change an estimate and not the reward."""


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
        actions: Rule (and options) to its macro actions.
    """

    cell: str
    critic: str
    prompts: int
    continuations: int
    sampled: int
    qualities: Sequence[Quality]
    actions: Mapping[str, Sequence[MacroAction]]


def estimators(run: FinishedRun, cell: Cell, texts: Sequence[str]) -> list[ArmPlan]:
    """Returns what is compared: `RULE[@option=value,...]`, with the cell's own options under these.

    Without any, the usual rules and the cell's own.

    Raises:
        UnknownNameError: A rule, parameter or option does not exist.
        ConfigError: A value is wrong, or an option changes what is estimated rather than the estimate.
    """
    arm = run.arm(cell)
    given = texts or [*DEFAULT_RULES, *([arm.rule.text] if arm.rule is not None else [])]
    found = {}
    for text in given:
        planned = plan_arm(f"{BASELINE}:{text}", run.config, run.registry)
        fixed = sorted(set(planned.options) - ESTIMATE_OPTIONS)
        if fixed:
            raise ConfigError(
                f"--rule {text}: {', '.join(fixed)} changes what is estimated; an option may be one of {', '.join(sorted(ESTIMATE_OPTIONS))}."
            )
        found[planned.label] = dataclasses.replace(planned, options={**arm.options, **planned.options})
    return list(found.values())


def diagnose(run: FinishedRun, cell: Cell, arms: Sequence[ArmPlan], size: DiagnosisSize) -> Diagnosis:
    """Samples responses of the cell's policy and continuations from the boundaries of all arms' macro actions, and compares advantages.

    Raises:
        TrainingError: A score is not finite, or too many responses have none.
        SegmentationError: A rule does not return a partition.
    """
    config = run.config
    ppo = run.arm(cell).ppo(config)
    actors = run.actors(cell)
    baselines = _baselines(run, arms)
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


def _baselines(run: FinishedRun, arms: Sequence[ArmPlan]) -> dict[str, PolicyBaseline]:
    """Returns the baseline of each arm, named by rule and options."""
    spec = run.registry.baseline(BASELINE)
    fitted = run.fitted([arm.rule for arm in arms if arm.rule is not None])
    return {
        arm.label.removeprefix(f"{BASELINE}:"): spec.build(
            PolicyContext(arm.ppo(run.config), built, built.nominal_length)
        )  # type: ignore[misc]  # it is a policy baseline
        for arm, built in zip(arms, fitted, strict=True)
    }

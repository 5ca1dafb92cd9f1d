"""From a configuration to a plan: the arms made exact, the names and hashes, and checks before any work. No torch."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from marl_bench.arm_grids import expand_grids
from marl_bench.arms import canonical_rule, folder_name, parse_arm, parse_rule
from marl_bench.config import PpoConfig, RunConfig
from marl_bench.config_layers import ResolvedConfig
from marl_bench.errors import ConfigError, UnknownNameError
from marl_bench.interfaces import BaselineSpec, PolicyContext, TaskSpec, TerminationRule
from marl_bench.metric_sources import make_metrics, metric_digests
from marl_bench.plugins import Registry, load_callable
from marl_bench.reward_sources import parse_reward_sources, stage_names
from marl_bench.run_dir import RunDir, digest_of_json

DEFAULT_ROOT = Path("results")

EVALUATION_KEYS = (
    "task_options.",
    "evaluation.",
    "data.source",
    "data.revision",
    "data.limit",
    "data.overlong_prompts",
    "sampling.",
)
"""Settings that an evaluation may have of its own; the others belong to the training."""


@dataclasses.dataclass(frozen=True)
class Rule:
    """A termination rule with its parameters checked.

    Attributes:
        id: Its name.
        version: Version of its definition.
        parameters: All parameters, in the order of their definition.
        text: The one canonical text.
        hash: First 12 digits of the digest of id, version and parameters.
    """

    id: str
    version: str
    parameters: Mapping[str, Any]
    text: str
    hash: str


@dataclasses.dataclass(frozen=True)
class ArmPlan:
    """One configured baseline of the comparison.

    Attributes:
        name: Folder name.
        label: Canonical arm text.
        baseline: Id of the baseline.
        version: Version of the baseline.
        trained: True if it samples responses in training.
        rule: Its termination rule, or None.
        options: The arm's own values of `ppo` keys.
    """

    name: str
    label: str
    baseline: str
    version: str
    trained: bool
    rule: Rule | None
    options: Mapping[str, Any]

    def ppo(self, config: RunConfig) -> PpoConfig:
        """Returns the trainer's settings with the arm's options over them."""
        return _with_options(config.ppo, self.options, label=self.label)


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that an experiment will do; picklable.

    Attributes:
        config: The resolved configuration.
        preset: Name of its preset.
        base_model: The base model: a hub id, a folder, or `tiny` for the package's own.
        stages: Names of the shared stages.
        config_hash: Hash of what shared stages and cells compute.
        root: Folder of the experiment.
        arms: The arms in the order given.
        plugin_paths: `--plugin` paths, which every worker loads again.
        jobs: Worker processes.
        threads: Threads of each worker.
        trackers: Trackers that cells send their figures to.
    """

    config: RunConfig
    preset: str
    base_model: str
    stages: Sequence[str]
    config_hash: str
    root: Path
    arms: Sequence[ArmPlan]
    plugin_paths: Sequence[Path]
    jobs: int
    threads: int
    trackers: Sequence[str] = ()

    @property
    def run_dir(self) -> RunDir:
        """Files of the experiment."""
        return RunDir(self.root)

    @property
    def experiment(self) -> str:
        """Name of the experiment."""
        return self.root.name

    def cells(self) -> list[tuple[ArmPlan, int]]:
        """Returns all cells, seed by seed, so that a first comparison is ready early."""
        return [(arm, seed) for seed in range(self.config.seeds) for arm in self.arms]

    def trained_cells(self) -> int:
        """Returns the number of cells that the shared trainer runs."""
        return self.config.seeds * sum(arm.trained for arm in self.arms)

    def warnings(self) -> list[str]:
        """Returns what a user should know before the run."""
        sampling = self.config.sampling
        found = []
        if sampling.top_k is not None or sampling.top_p < 1:
            found.append(
                "sampling.top_k or top_p is set: responses come from a narrower distribution than the one whose log-probs PPO uses."
            )
        if sampling.logprobs == "full" and sampling.temperature != 1:
            found.append(
                "sampling.logprobs=full: log-probs at temperature 1 of responses sampled at another, as the released code has it."
            )
        return found


def make_plan(resolved: ResolvedConfig, registry: Registry, *, out: Path | None, jobs: int, threads: int) -> Plan:
    """Resolves all names of a configuration and checks what can be checked before work starts.

    Raises:
        UnknownNameError: A task, baseline or rule does not exist.
        ConfigError: An arm, option or task option is wrong, or two arms are the same.
    """
    config = resolved.config.model_copy(update={"arms": expand_grids(resolved.config.arms)})
    task = registry.task(config.task)
    task_options(task, config)
    for source in parse_reward_sources(config.reward.sources):
        if source.kind == "python":
            load_callable(source.target, where=f"--reward {source.text}")
    make_metrics(config.evaluation.metrics, registry)
    arms = [plan_arm(text, config, registry) for text in config.arms]
    twice = {arm.label for arm in arms if sum(other.name == arm.name for other in arms) > 1}
    if twice:
        raise ConfigError(f"--arm {', '.join(sorted(twice))}: given twice; every arm needs settings of its own.")
    for arm in arms:
        _check_buildable(arm, config, registry)
    config_hash = configuration_hash(config, task, registry)
    root = out if out is not None else DEFAULT_ROOT / f"{config.task}-{resolved.preset}-{config_hash[:8]}"
    return Plan(
        config=config,
        preset=resolved.preset,
        base_model=base_model(task, config),
        stages=stage_names(config.reward.sources, reward_kind=task.reward_kind),
        config_hash=config_hash,
        root=root,
        arms=arms,
        plugin_paths=registry.plugin_paths,
        jobs=jobs,
        threads=threads,
    )


def _check_buildable(arm: ArmPlan, config: RunConfig, registry: Registry) -> None:
    """Builds the baseline once, so that an arm which its baseline refuses is refused before any work."""
    spec, ppo = registry.baseline(arm.baseline), arm.ppo(config)
    try:
        if spec.kind == "trainer":
            spec.check(config.model_copy(update={"ppo": ppo}))
        else:
            rule = build_rule(arm.rule, registry) if arm.rule else None
            length = None if rule is None else rule.nominal_length or 1.0
            spec.build(PolicyContext(ppo, rule, length))
    except ConfigError as error:
        raise ConfigError(f"arm '{arm.label}': {error}") from error


def configuration_hash(config: RunConfig, task: TaskSpec, registry: Registry) -> str:
    """Returns the hash of what an experiment computes: task version, settings, and the content of the metrics that the user adds."""
    added = config.evaluation.metrics
    content = {"metrics": metric_digests(added, registry)} if added else {}
    return digest_of_json({"task_version": task.version, **content, **config.hashed_part()})


def base_model(task: TaskSpec, config: RunConfig) -> str:
    """Returns the base model as loaders take it; `tiny` is the task's own small one where it ships one."""
    path = config.model.path
    return str(task.base_model) if path == "tiny" and task.base_model is not None else path


def task_options(task: TaskSpec, config: RunConfig) -> Any:
    """Returns the task's typed options.

    Raises:
        UnknownNameError: An option does not exist.
        ConfigError: An option has a wrong type or value.
    """
    unknown = [name for name in config.task_options if name not in task.config_type.model_fields]
    if unknown:
        raise UnknownNameError(f"option of task '{task.id}'", unknown[0], task.config_type.model_fields)
    try:
        return task.config_type.model_validate(config.task_options)
    except ValidationError as error:
        raise ConfigError(f"task_options of '{task.id}': {_problems(error)}") from error


def plan_arm(text: str, config: RunConfig, registry: Registry) -> ArmPlan:
    """Makes an arm text exact; raises as `make_plan`."""
    parsed = parse_arm(text)
    spec = registry.baseline(parsed.baseline)
    if parsed.rule is not None and spec.default_rule is None:
        raise ConfigError(f"arm '{text}': {spec.id} takes no termination rule; write --arm {spec.id}.")
    rule_text = parsed.rule or spec.default_rule
    rule = plan_rule(rule_text, registry) if rule_text else None
    _with_options(config.ppo, parsed.options, label=text)
    label = spec.id + (f":{rule.text.replace(', ', ',')}" if rule else "")
    if parsed.options:
        label += "@" + ",".join(f"{key}={value}" for key, value in parsed.options.items())
    return ArmPlan(
        folder_name(spec.id, rule.text if rule else None, parsed.options),
        label,
        spec.id,
        spec.version,
        spec.kind == "policy" or spec.samples,
        rule,
        parsed.options,
    )


def plan_rule(text: str, registry: Registry) -> Rule:
    """Checks a rule text against the rule's parameters and makes it canonical.

    Raises:
        UnknownNameError: The rule or a parameter does not exist.
        ConfigError: A parameter has a wrong type or value, or there are too many.
    """
    parsed = parse_rule(text)
    spec = registry.termination(parsed.id)
    names = list(spec.parameters.model_fields)
    if len(parsed.args) > len(names):
        raise ConfigError(
            f"termination rule '{text}': {len(parsed.args)} arguments, {spec.id} takes {len(names)} ({', '.join(names) or 'none'})."
        )
    given = dict(zip(names, parsed.args, strict=False))
    twice = set(given) & set(parsed.kwargs)
    if twice:
        raise ConfigError(f"termination rule '{text}': {', '.join(sorted(twice))} given twice.")
    given.update(parsed.kwargs)
    for name in given:
        if name not in names:
            raise UnknownNameError(f"parameter of termination rule '{spec.id}'", name, names)
    try:
        parameters = spec.parameters.model_validate(given).model_dump(mode="json")
    except ValidationError as error:
        raise ConfigError(f"termination rule '{text}': {_problems(error)}") from error
    digest = digest_of_json({"id": spec.id, "version": spec.version, "parameters": parameters})
    return Rule(spec.id, spec.version, parameters, canonical_rule(spec.id, parameters), digest[:12])


def build_rule(rule: Rule, registry: Registry) -> TerminationRule:
    """Returns the rule, not yet fitted."""
    spec = registry.termination(rule.id)
    return spec.build(spec.parameters.model_validate(rule.parameters))


def arm_record(arm: ArmPlan, spec: BaselineSpec) -> dict[str, Any]:
    """Returns the arm as records hold it."""
    return {
        "name": arm.name,
        "label": arm.label,
        "baseline": arm.baseline,
        "baseline_version": arm.version,
        "rule": arm.rule.text if arm.rule else None,
        "rule_version": arm.rule.version if arm.rule else None,
        "rule_hash": arm.rule.hash if arm.rule else None,
        "options": dict(arm.options),
        "trained": arm.trained,
        "role": spec.role,
        "isolates": spec.isolates,
        "without_effect": sorted(spec.without_effect),
    }


def _with_options(ppo: PpoConfig, options: Mapping[str, Any], *, label: str) -> PpoConfig:
    for key in options:
        if key not in PpoConfig.model_fields:
            raise UnknownNameError(f"option of arm '{label}'", key, PpoConfig.model_fields)
    try:
        return PpoConfig.model_validate({**ppo.model_dump(), **options})
    except ValidationError as error:
        raise ConfigError(f"arm '{label}': {_problems(error)}") from error


def _problems(error: ValidationError) -> str:
    return " ".join(
        f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}; given: {problem['input']!r}."
        for problem in error.errors()
    )

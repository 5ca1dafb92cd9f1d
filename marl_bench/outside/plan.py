"""From a command to what will be evaluated, with every check that needs no model in memory. No torch, unless a model or a run is part of it."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marl_bench.config import RunConfig
from marl_bench.config_layers import resolve, with_overrides
from marl_bench.errors import ConfigError, ModelError, RecordError
from marl_bench.evaluation.measure import check_metric_names, oracle_scores
from marl_bench.interfaces import Metric, Task, TaskSpec
from marl_bench.judging.transport import server_and_key
from marl_bench.metric_sources import make_metrics
from marl_bench.outside.data import evaluation_prompts
from marl_bench.outside.request import Request, Scorer
from marl_bench.outside.samples_file import SampleRow, matched, read_samples
from marl_bench.outside.systems import System, check_names, parse_systems, reference_of
from marl_bench.planning import DEFAULT_ROOT, EVALUATION_KEYS, configuration_hash, task_options
from marl_bench.plugins import Registry
from marl_bench.records import Prompt, Response, TaskData
from marl_bench.reward_sources import COMBINED_SCORE, OWN, is_own_reward, parse_reward_sources
from marl_bench.run_dir import RunDir, digest_of_folder, digest_of_json

if TYPE_CHECKING:
    from marl_bench.finished_run import FinishedRun

_OWN_KEYS = (
    *EVALUATION_KEYS,
    "data.",
    "reward.",
    "reward_model.path",
    "model.dtype",
    "ppo.score_batch_size",
    "ppo.sample_batch_size",
)
"""Settings of an evaluation without a run; the others are of trainings."""

_ADDED_METRICS = ("repetition", "words")


@dataclasses.dataclass(frozen=True)
class OutsidePlan:
    """What is evaluated, on what, and by what.

    Attributes:
        request: What was asked for.
        config: The settings.
        registry: The plugins.
        spec: The task's spec.
        task: The task.
        metrics: Metrics of the evaluation.
        primary_metric: What tables lead with.
        has_score: Whether there is a reward.
        scorer: The models that score.
        systems: What is evaluated, the reference among them.
        reference: The reference, or None.
        prompts: Evaluated prompts as the task words them.
        read_prompts: The same as the scoring models read them, in the same order.
        known_ids: Ids of all the task's evaluation prompts.
        facts: Source, counts and notes of the data.
        digests: Content digests of data and scoring models.
        shared: Figures of the run's shared stages.
        rows: File of samples to its rows.
        run: The run, if there is one.
        out: Where the result goes.
        config_hash: Hash of all that decides the numbers but the systems.
    """

    request: Request
    config: RunConfig
    registry: Registry
    spec: TaskSpec
    task: Task
    metrics: Sequence[Metric]
    primary_metric: str
    has_score: bool
    scorer: Scorer
    systems: Sequence[System]
    reference: System | None
    prompts: Sequence[Prompt]
    read_prompts: Sequence[Prompt]
    known_ids: frozenset[str]
    facts: Mapping[str, Any]
    digests: Mapping[str, str]
    shared: Mapping[str, Any]
    rows: Mapping[str, Sequence[SampleRow]]
    run: "FinishedRun | None"
    out: RunDir
    config_hash: str

    def seeds(self, system: System) -> list[int]:
        """Returns the seeds of a system: those that are asked for where it is sampled here, 0 for a file, those of its cells for an arm."""
        wanted = range(self.request.seeds)
        if system.kind == "arm":
            found = sorted(cell.record.seed for cell in system.cells())
            return [seed for seed in found if seed in wanted] or found[:1]
        return [0] if system.kind == "samples" else list(wanted)

    def cells(self) -> list[tuple[System, int]]:
        """Returns all cells."""
        return [(system, seed) for system in self.systems for seed in self.seeds(system)]


def plan_outside(request: Request, registry: Registry) -> OutsidePlan:
    """Checks what can be checked before any model is loaded, files of samples among it.

    Raises:
        ConfigError: A setting, a name or the task is wrong, or nothing is there to evaluate.
        UnknownNameError: A task, arm, metric, setting or prompt id does not exist.
        DataError: The data or a file cannot be used.
        ModelError: A folder holds no model, or its window is too small.
        RecordError: A run cannot be used.
    """
    systems = parse_systems(request.models, request.samples)
    run, config = _opened(request, registry)
    spec = registry.task(config.task)
    task = spec.build(task_options(spec, config))
    reference = None if request.against is None else reference_of(request.against, systems, run=request.run)
    systems = systems if reference is None or reference in systems else [reference, *systems]
    check_names(systems)
    scorer = _scorer(request, run, config)
    has_score = _has_score(spec, config, scorer)
    data, read = evaluation_prompts(task, config, scorer, run)
    base = read.prompts[: config.evaluation.max_prompts]
    whole = {prompt.id: prompt for prompt in data.eval_prompts}
    prompts = [whole[prompt.id] for prompt in base]
    metrics = _metrics(task, config, registry, score=_score_name(spec, config) if has_score else None)
    digests = _digests(scorer, run, read.digest)
    own_hash = configuration_hash(config, spec, registry)
    config_hash = digest_of_json(
        {"outside": own_hash, "digests": digests, "run": run and run.cells[0].record.config_hash}
    )
    plan = OutsidePlan(
        request=request,
        config=config,
        registry=registry,
        spec=spec,
        task=task,
        metrics=metrics,
        primary_metric=_score_name(spec, config) if has_score else _leading(task, prompts, metrics),
        has_score=has_score,
        scorer=scorer,
        systems=systems,
        reference=reference,
        prompts=prompts,
        read_prompts=base,
        known_ids=frozenset(whole),
        facts=_facts(config, data, read.notes),
        digests=digests,
        shared={}
        if run is None
        else {name: run.cells[0].record.shared.get(name) for name in ("sft", "reward_model", "reward")},
        rows={
            system.target: read_samples(Path(system.target).expanduser())
            for system in systems
            if system.kind == "samples"
        },
        run=run,
        out=RunDir(request.out or DEFAULT_ROOT / f"{config.task}-evaluation-{config_hash[:8]}"),
        config_hash=config_hash,
    )
    _check_systems(plan)
    return plan


def open_prompts(request: Request, registry: Registry) -> list[Prompt]:
    """Returns the evaluation prompts of a task's settings, or of a run as its policies read them; raises as `plan_outside`."""
    run, config = _opened(request, registry)
    spec = registry.task(config.task)
    task = spec.build(task_options(spec, config))
    _, read = evaluation_prompts(task, config, _scorer(request, run, config), run)
    return list(read.prompts[: config.evaluation.max_prompts])


def _opened(request: Request, registry: Registry) -> tuple["FinishedRun | None", RunConfig]:
    """Returns the run, if there is one, and the settings."""
    allowed = EVALUATION_KEYS if request.run is not None else _OWN_KEYS
    for key, _ in request.overrides:
        if not any(key == one or (one.endswith(".") and key.startswith(one)) for one in allowed):
            whose = "belongs to the run" if request.run is not None else "belongs to a training"
            raise ConfigError(
                f"--set {key}: {whose}; an evaluation may change {', '.join(one.rstrip('.') for one in allowed)}."
            )
    if request.run is None:
        if request.task is None:
            raise ConfigError("of which task? Give --task TASK (marl-bench list tasks), or --run RUN to take a run's.")
        resolved = resolve(
            preset=request.preset,
            layers=[("--task", {"task": request.task})],
            overrides=request.overrides,
            task_settings=registry.task_settings,
        )
        return None, resolved.config
    from marl_bench.finished_run import open_run

    run = open_run(request.run, registry)
    if request.task not in (None, run.spec.id):
        raise ConfigError(f"--task {request.task}: {request.run} is a run of task '{run.spec.id}'; leave --task out.")
    return run, with_overrides(run.config, request.overrides)


def _scorer(request: Request, run: "FinishedRun | None", config: RunConfig) -> Scorer:
    if run is not None:
        sft, own = str(run.stages.sft.folder), run.stages.reward_model
        found = Scorer(sft, str(own.folder) if own is not None else None, sft, fits_prompts=True)
    elif config.reward_model.path is not None:
        path = str(Path(config.reward_model.path).expanduser())
        if not (Path(path) / "config.json").is_file():
            raise ModelError(f"--reward-model '{path}': no from_pretrained folder there (config.json is missing).")
        found = Scorer(path, path, None, fits_prompts=True)
    else:
        return Scorer(request.tokenizer)
    if request.tokenizer is not None:
        raise ConfigError(
            "--tokenizer: tokens are counted by the tokenizer of the run or the reward model; leave it out."
        )
    return found


def _has_score(spec: TaskSpec, config: RunConfig, scorer: Scorer) -> bool:
    """Returns whether there is a reward; a task whose reward is a model has none without one, unless other sources are given."""
    kinds = [source.kind for source in parse_reward_sources(config.reward.sources)]
    if OWN not in kinds or spec.reward_kind == "rule":
        if scorer.reward_model is not None and OWN not in kinds:
            raise ConfigError("--reward-model: is no part of the score; add --reward task, or leave it out.")
        return True
    if scorer.reward_model is None and len(kinds) > 1:
        raise ConfigError(
            f"--reward: task '{spec.id}' scores with a reward model; give --reward-model PATH or --run RUN, or leave task out."
        )
    return scorer.reward_model is not None


def _score_name(spec: TaskSpec, config: RunConfig) -> str:
    return spec.primary_metric if is_own_reward(config.reward.sources) else COMBINED_SCORE


def _metrics(task: Task, config: RunConfig, registry: Registry, *, score: str | None) -> list[Metric]:
    """Returns the metrics of task and settings, and repetition and words where these have none of the name."""
    metrics = [*task.metrics, *make_metrics(config.evaluation.metrics, registry)]
    names = {name for metric in metrics for name in metric.names}
    metrics += make_metrics([name for name in _ADDED_METRICS if name not in names], registry)
    check_metric_names(metrics, taken=["oracle"] if score is None else [score, "oracle"])
    return metrics


def _leading(task: Task, prompts: Sequence[Prompt], metrics: Sequence[Metric]) -> str:
    """Returns what tables lead with where there is no score: the oracle, else the first metric of which more is better."""
    if oracle_scores(task, prompts[:1], [Response(prompts[0].id, "", None, None)]) is not None:
        return "oracle"
    return next((metric.names[0] for metric in metrics if metric.higher_is_better), metrics[0].names[0])


def _digests(scorer: Scorer, run: "FinishedRun | None", data: str) -> dict[str, str]:
    if run is not None:
        stages = {"sft": run.stages.sft, "reward_model": run.stages.reward_model, "reward": run.stages.reward}
        return {"data": data, **{name: stage.digest for name, stage in stages.items() if stage is not None}}
    own = {} if scorer.reward_model is None else {"reward_model": digest_of_folder(Path(scorer.reward_model))}
    return {"data": data, **own}


def _facts(config: RunConfig, data: TaskData, notes: Sequence[str]) -> dict[str, Any]:
    source = config.data.source
    return {
        "source": source if source in ("embedded", "hub") else Path(source).name,
        "counts": dict(data.counts),
        "notes": [*data.notes, *notes],
    }


def _check_systems(plan: OutsidePlan) -> None:
    """Checks windows, files of samples and names against the run, so that the last system's mistake costs no work on the first."""
    sampling, request = plan.config.sampling, plan.request
    if request.run is not None:
        arms = {cell.record.arm["name"] for cell in plan.run.cells} if plan.run is not None else set()
        taken = [system.name for system in plan.systems if system.folder in arms]
        if taken:
            raise ConfigError(
                f"evaluate: '{taken[0]}' is the name of an arm of {request.run}; name it otherwise with NAME=PATH."
            )
    for system in plan.systems:
        if system.kind == "model":
            from marl_bench.models.loading import check_window, load_sampling_tokenizer

            check_window(
                system.target,
                max_prompt_tokens=sampling.max_prompt_tokens,
                max_response_tokens=sampling.max_response_tokens,
            )
            load_sampling_tokenizer(system.target)
        elif system.kind == "samples":
            answers_of_file(plan, system)
        elif system.kind == "server":
            server_and_key(request.base_url)
        elif system.kind == "arm":
            _check_arm(plan, system)


def _check_arm(plan: OutsidePlan, system: System) -> None:
    task = system.cells()[0].record.task["id"]
    if task != plan.spec.id:
        raise RecordError(
            f"--against {system.name}: is an arm of task '{task}', this is an evaluation of '{plan.spec.id}'."
        )


def answers_of_file(plan: OutsidePlan, system: System) -> tuple[list[Response], list[str]]:
    """Returns the responses of a file to the evaluated prompts, and what the report must say of them; raises as `matched`."""
    return matched(
        plan.rows[system.target],
        plan.prompts,
        known=plan.known_ids,
        name=Path(system.target).name,
        allow_missing=plan.request.allow_missing,
    )

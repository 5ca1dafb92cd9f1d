"""Evaluates the policies of a finished experiment again: on other prompts, with other metrics or another temperature. Nothing is trained."""

import dataclasses
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from marl_bench.config import RunConfig
from marl_bench.config_layers import with_overrides
from marl_bench.errors import ConfigError
from marl_bench.evaluation.evaluate import EvaluationRun, evaluate_policy
from marl_bench.evaluation.measure import check_metric_names
from marl_bench.evaluation.results import aggregate
from marl_bench.finished_run import FinishedRun, open_run
from marl_bench.interfaces import Metric, Task
from marl_bench.macro_traces import MACRO_ACTIONS
from marl_bench.metric_sources import make_metrics
from marl_bench.models.loading import check_window, load_tokenizer
from marl_bench.models.responses import log_prob_temperature, stored_responses
from marl_bench.models.vllm_install import check_sampler, sampler_packages
from marl_bench.models.vllm_sampler import Samplers
from marl_bench.planning import EVALUATION_KEYS, configuration_hash, task_options
from marl_bench.plugins import Registry
from marl_bench.provenance import environment, now
from marl_bench.records import Cell, RunRecord
from marl_bench.reporting.report import ReportFiles, write_report
from marl_bench.run_dir import (
    ENGINE_LOG,
    RECORD,
    SAMPLES,
    RunDir,
    claim,
    digest_of_json,
    locked,
    make_writable,
    read_record,
    write_json_atomically,
    write_jsonl_atomically,
)
from marl_bench.training.data import PreparedData, prepare_data
from marl_bench.training.traces import TRACED_SAMPLES, write_macro_traces


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What all cells are evaluated with.

    Attributes:
        run: The finished experiment.
        config: Its settings with the changes.
        task: The task with the changed options.
        metrics: Metrics of the evaluation.
        prepared: The data.
        seen: Evaluation prompts that stand in the training data of the run.
        out: Where the records go.
    """

    run: FinishedRun
    config: RunConfig
    task: Task
    metrics: Sequence[Metric]
    prepared: PreparedData
    seen: int
    out: RunDir

    @property
    def config_hash(self) -> str:
        """Hash of what is evaluated, and of the run whose policies they are."""
        own = configuration_hash(self.config, self.run.spec, self.run.registry)
        return digest_of_json({"run": self.run.cells[0].record.config_hash, "evaluation": own})


def plan_evaluation(
    root: Path, overrides: Sequence[tuple[str, Any]], registry: Registry, *, name: str | None
) -> Evaluation:
    """Opens an experiment and loads what its policies are to be evaluated on.

    Args:
        root: Folder of the experiment.
        overrides: Dotted keys with their values.
        registry: The plugins.
        name: Of the evaluation; None names it after what is changed.

    Raises:
        RecordError: The experiment has no complete cell.
        ConfigError: A key belongs to the training, or a value is wrong.
        ModelError: Prompt and response do not fit the model's window.
        DataError: The data cannot be loaded.
    """
    run = open_run(root, registry)
    may_change = (*EVALUATION_KEYS, "sampler.")
    for key, _ in overrides:
        if not any(key == allowed or (allowed.endswith(".") and key.startswith(allowed)) for allowed in may_change):
            raise ConfigError(
                f"--set {key}: belongs to the training; an evaluation may change {', '.join(part.rstrip('.') for part in may_change)}."
            )
    config = with_overrides(run.config, overrides)
    check_sampler(config)
    sampling = config.sampling
    check_window(
        str(run.stages.sft.folder),
        max_prompt_tokens=sampling.max_prompt_tokens,
        max_response_tokens=sampling.max_response_tokens,
    )
    task = run.spec.build(task_options(run.spec, config))
    metrics = [*task.metrics, *make_metrics(config.evaluation.metrics, registry)]
    check_metric_names(metrics, taken=[run.cells[0].record.task["primary_metric"], "oracle"])
    prepared = prepare_data(task, config, load_tokenizer(str(run.stages.sft.folder)))
    if name is not None and not re.fullmatch(r"[\w.-]*\w[\w.-]*", name):
        raise ConfigError(f"--name '{name}': should be the name of a folder: letters, digits, and . _ - only.")
    name = name or configuration_hash(config, run.spec, registry)[:8]
    return Evaluation(run, config, task, metrics, prepared, _seen(run, prepared), RunDir(root / "evaluations" / name))


def evaluate_again(planned: Evaluation, *, arms: Sequence[str], done: Callable[[int, str], None]) -> ReportFiles:
    """Evaluates every complete cell that is not evaluated yet, and writes the report.

    Args:
        planned: What is evaluated.
        arms: Labels or folder names; empty takes all.
        done: Told how many cells are done, and the last one's name.

    Raises:
        UnknownNameError: No complete cell is of an arm.
        RunFolderError: The folder cannot be written, or holds another evaluation.
    """
    out = planned.out
    make_writable(out)
    with locked(out), closing(Samplers(planned.config, log=out.root / ENGINE_LOG)) as samplers:
        claim(out, planned.config.model_dump(mode="json"), config_hash=planned.config_hash)
        for number, cell in enumerate(cells_of(planned.run, arms), start=1):
            arm, seed = cell.record.arm["name"], cell.record.seed
            folder = out.cell(arm, seed)
            record = read_record(folder)
            if record is None or record.status != "complete" or not (folder / SAMPLES).exists():
                _evaluate_cell(planned, cell, folder, samplers)
            done(number, f"{cell.record.arm['label']} seed {seed}")
        return write_report([out], out=out.root)


def trace_again(run: FinishedRun, *, arms: Sequence[str], done: Callable[[int, str], None]) -> list[str]:
    """Writes the macro actions of the run's own samples where a cell has none; returns what could not be written.

    The texts are encoded again, see `stored_responses`.

    Raises:
        UnknownNameError: No complete cell is of an arm.
        RunFolderError: Another process works in the folder.
    """
    problems = []
    with locked(run.run_dir):
        for number, cell in enumerate(cells_of(run, arms), start=1):
            label = f"{cell.record.arm['label']} seed {cell.record.seed}"
            if not (run.folder(cell) / MACRO_ACTIONS).exists():
                problems += [f"{label}: {problem}" for problem in _trace_cell(run, cell)]
            done(number, label)
    return problems


def _trace_cell(run: FinishedRun, cell: Cell) -> list[str]:
    if not run.arm(cell).trained:
        return []
    actors = run.actors(cell)
    tracing = run.tracing(cell, actors)
    if tracing is None:  # another trainer has trained it
        return []
    samples = cell.samples[:TRACED_SAMPLES]
    sampled = stored_responses(
        actors.policy,
        actors.tokenizer,
        samples,
        temperature=log_prob_temperature(run.config.sampling),
        batch_size=run.config.ppo.score_batch_size,
        seed_parts=(cell.record.seed, "evaluation"),
    )
    return write_macro_traces(run.folder(cell), tracing, sampled, samples)


def cells_of(run: FinishedRun, arms: Sequence[str]) -> list[Cell]:
    """Returns the complete cells of the arms, or all; raises `UnknownNameError` if an arm has none."""
    wanted = {run.cell(arm).record.arm["name"] for arm in arms}
    return [cell for cell in run.cells if not wanted or cell.record.arm["name"] in wanted]


def _evaluate_cell(planned: Evaluation, cell: Cell, folder: Path, samplers: Samplers) -> None:
    began = time.perf_counter()
    actors = planned.run.actors(cell)
    actors = dataclasses.replace(actors, sampler=samplers.of(actors, start_from=planned.run.stages.sft.folder))
    evaluated = evaluate_policy(
        actors,
        planned.task,
        planned.prepared.data.eval_prompts,
        EvaluationRun(
            planned.config,
            planned.metrics,
            cell.record.task["primary_metric"],
            cell.record.seed,
            cell.record.arm.get("best_of", 1),
        ),
    )
    result = evaluated.result
    metrics, unscored = aggregate(result, score=cell.record.task["primary_metric"])
    limit = planned.config.sampling.max_response_tokens
    write_jsonl_atomically(folder / SAMPLES, (sample.to_json() for sample in result.samples))
    tracing = planned.run.tracing(cell, actors)
    problems = list(result.problems)
    if tracing is not None:
        problems += write_macro_traces(
            folder, dataclasses.replace(tracing, sampling=planned.config.sampling), evaluated.sampled, result.samples
        )
    record: RunRecord = dataclasses.replace(
        cell.record,
        experiment=f"{cell.record.experiment}, evaluation {planned.out.root.name}",
        task={**cell.record.task, "has_oracle": "oracle" in metrics},
        config_hash=planned.config_hash,
        digests={**cell.record.digests, "data": planned.prepared.digest},
        shared={**cell.record.shared, "data": _data_facts(planned)},
        budget={**cell.record.budget, "prompts": len(result.samples), "max_response_tokens": limit},
        metrics=metrics,
        higher_is_better=dict(result.higher_is_better),
        unscored=unscored,
        problems=problems,
        costs={"seconds": {"evaluation": time.perf_counter() - began}, "finished_at": now()},
        environment=environment(
            device=str(actors.policy.device),
            threads=cell.record.environment.get("threads", 1),
            packages=sampler_packages(planned.config),
        ),
    )
    write_json_atomically(folder / RECORD, record.to_json())


def _data_facts(planned: Evaluation) -> Mapping[str, Any]:
    data = planned.prepared.data
    notes = [*data.notes, "These policies were trained on the data of the run; only the evaluation is on these."]
    if planned.seen:
        notes.append(f"{planned.seen} evaluation prompts stand in the training data of the run.")
    return {
        "source": planned.config.data.source_name,
        "counts": dict(data.counts),
        "notes": notes,
    }


def _seen(run: FinishedRun, prepared: PreparedData) -> int:
    """Returns how many evaluation prompts the run has trained on."""
    data = run.data()
    learned = [*(pair.prompt for pair in data.sft), *(pair.prompt for pair in data.preferences), *data.rl_prompts]
    trained = {prompt.text for prompt in learned}
    return sum(prompt.text in trained for prompt in prepared.data.eval_prompts)

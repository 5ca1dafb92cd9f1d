"""What one worker process does: the shared stages, then cells, one after another."""

import dataclasses
import math
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch

from marl_bench.batches import Rollout
from marl_bench.cell_files import cell_checkpoints, cell_costs, clear_unfinished, save_best_policy, save_models
from marl_bench.config_layers import flat_settings
from marl_bench.disk_space import full_disk_named, is_disk_full
from marl_bench.errors import DataError, Interrupted, MarlBenchError
from marl_bench.evaluation.evaluate import Evaluated, EvaluationRun, evaluate_policy
from marl_bench.evaluation.measure import check_metric_names, measure
from marl_bench.evaluation.results import aggregate
from marl_bench.interfaces import (
    BaselineSpec,
    PolicyBaseline,
    PolicyContext,
    Task,
    TerminationRule,
    TrainContext,
    TrainerBaseline,
)
from marl_bench.metric_sources import make_metrics
from marl_bench.models.actors import Actors, load_actors, policy_source
from marl_bench.models.adapters import NewAdapter, adapter_facts
from marl_bench.models.checks import checked_tokenizer
from marl_bench.models.cpu_matmul import with_speed
from marl_bench.models.memory import with_memory
from marl_bench.models.out_of_memory import Halvings, want_of_memory_named
from marl_bench.models.sharding import sharded
from marl_bench.models.vllm_install import sampler_packages
from marl_bench.models.vllm_sampler import Samplers
from marl_bench.planning import ArmPlan, Plan, arm_record, build_rule, task_options
from marl_bench.plugins import Registry
from marl_bench.provenance import environment
from marl_bench.records import Prompt, Response, RunRecord
from marl_bench.reward_sources import COMBINED_SCORE, is_own_reward, parse_reward_sources
from marl_bench.run_dir import (
    CURVE,
    ENGINE_LOG,
    RECORD,
    SAMPLES,
    read_jsonl,
    write_json_atomically,
    write_jsonl_atomically,
)
from marl_bench.training.checkpoint import Checkpoints
from marl_bench.training.data import PreparedData, prepare_data
from marl_bench.training.guards import trouble
from marl_bench.training.ppo import Budget, PpoRun, train_ppo
from marl_bench.training.progress import Progress, report_step
from marl_bench.training.rollout import check_needs, roll_out
from marl_bench.training.shared_stages import SharedWork, run_shared_stages
from marl_bench.training.stages import SharedStages, check_same_data, finished_stages
from marl_bench.training.state import seed_everything
from marl_bench.training.text_scores import TextScores
from marl_bench.training.traces import Tracing, write_macro_traces
from marl_bench.training.tracking import TrackedProgress, tracked
from marl_bench.world import ALONE, World


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained policy with its companions.

    Attributes:
        actors: The models; the policy is the one to evaluate.
        budget: What the training used.
        arm: What only training could tell of the arm, for the record.
        baseline: What cut the responses into macro actions; None where the shared trainer did not train.
        best_of: Responses sampled for each one that is evaluated.
    """

    actors: Actors
    budget: Budget
    arm: Mapping[str, Any]
    baseline: PolicyBaseline | None = None
    best_of: int = 1


class Worker:
    """Runs jobs of one plan; loads the data once."""

    def __init__(self, plan: Plan, world: World = ALONE) -> None:
        """Loads the plugins of the plan."""
        torch.set_num_threads(plan.threads)
        self.plan, self.world = plan, world
        self.registry = Registry(plan.plugin_paths)
        self.spec = self.registry.task(plan.config.task)
        self.task: Task = self.spec.build(task_options(self.spec, plan.config))
        self.metrics = [*self.task.metrics, *make_metrics(plan.config.evaluation.metrics, self.registry)]
        check_metric_names(self.metrics, taken=[self.primary_metric, "oracle"])
        self._scratch = None if world.is_main else tempfile.TemporaryDirectory()
        self._prepared: PreparedData | None = None
        self._samplers = Samplers(plan.config, log=plan.root / ENGINE_LOG)

    def run_shared(self, progress: Progress) -> None:
        """Trains or measures the shared stages, after a look at the metrics that the user added, whose defects should not cost a training."""
        added = self.metrics[len(self.task.metrics) :]
        data = self.prepared().data
        for arm in self.plan.arms:
            if self.registry.baseline(arm.baseline).learns_pairs and not data.preferences:
                raise DataError(
                    f"arm '{arm.label}': learns from preference pairs, and the data have none; leave it out, or take rloo, grpo or the PPO arms."
                )
        pairs = data.sft[:8]
        responses = [Response(pair.prompt.id, pair.response, 1, True) for pair in pairs]
        self.world.on_main("added metrics", lambda: measure(added, [pair.prompt for pair in pairs], responses))
        plan = self.plan
        halvings = Halvings(progress.note)
        if plan.config.guards.out_of_memory == "stop":
            halvings.forbid()
        with full_disk_named(plan.run_dir.root), want_of_memory_named("shared stages"):
            work = SharedWork(
                plan.run_dir,
                plan.config,
                self.spec,
                self.task,
                self.prepared(),
                plan.base_model,
                progress,
                plan.config_hash,
                self.world,
                halvings,
            )
            run_shared_stages(work)

    def run_cell(self, arm: ArmPlan, seed: int, progress: Progress) -> None:
        """Trains, evaluates and records one cell, going on from its newest checkpoint; a failure is recorded and raised again."""
        stages = finished_stages(self.plan.run_dir, self.plan.config, self.spec)
        if stages is None:
            raise MarlBenchError("the shared stages are not finished; run the experiment from its start.")
        check_same_data(stages, self.prepared())
        folder = self._folder(arm, seed)
        record = self._first_record(arm, seed, stages)
        checkpoints = cell_checkpoints(self.plan, arm, record, progress, self.world)
        with full_disk_named(folder):
            clear_unfinished(folder)
            seed_everything(seed)
            self._samplers.tell = progress.note
            write_json_atomically(folder / RECORD, record.to_json())
            try:
                with want_of_memory_named(f"arm '{arm.label}', seed {seed}"), self._tracked(record, progress) as told:
                    finished = self._train_and_evaluate(arm, checkpoints, stages, record, told)
                    told.result(finished)
            except Interrupted:
                raise
            except Exception as error:
                if not is_disk_full(error):
                    text = f"{type(error).__name__}: {error}"
                    failed = dataclasses.replace(record, status="failed", error=text, problems=trouble(folder))
                    write_json_atomically(folder / RECORD, failed.to_json())
                raise
            write_json_atomically(folder / RECORD, finished.to_json())
        checkpoints.remove()

    @property
    def primary_metric(self) -> str:
        """Name of the score in tables."""
        return self.spec.primary_metric if is_own_reward(self.plan.config.reward.sources) else COMBINED_SCORE

    def prepared(self) -> PreparedData:
        """Returns the data, fitted to the model."""
        if self._prepared is None:
            config = self.plan.config
            tokenizer = checked_tokenizer(config, base_model=self.plan.base_model)
            self._prepared = prepare_data(self.task, config, tokenizer)
        return self._prepared

    def _tracked(self, record: RunRecord, progress: Progress) -> AbstractContextManager[TrackedProgress]:
        settings = dict(flat_settings(self.plan.config.model_dump(mode="json")))
        names = self.plan.trackers if self._scratch is None else ()  # the first of several processes tells for all
        return tracked(names, self.plan.root, record, progress, settings=settings)

    def _folder(self, arm: ArmPlan, seed: int) -> Path:
        """Returns the folder that a cell writes into: what a process beside the first one has to say is the same once more, and goes."""
        if self._scratch is None:
            return self.plan.run_dir.cell(arm.name, seed)
        return Path(self._scratch.name) / arm.name

    def _train_and_evaluate(
        self, arm: ArmPlan, checkpoints: Checkpoints, stages: SharedStages, record: RunRecord, progress: Progress
    ) -> RunRecord:
        config, spec, seed = self.plan.config, self.registry.baseline(arm.baseline), record.seed
        folder = self._folder(arm, seed)
        if spec.kind == "policy":
            trained = self._train(arm, checkpoints, stages, seed, progress)
        else:
            checkpoints.go_on_from(None)
            trained = self._train_by_itself(arm, seed, folder, stages, spec, progress)
        trained_seconds = checkpoints.seconds()
        evaluated = evaluate_policy(
            trained.actors,
            self.task,
            self.prepared().data.eval_prompts,
            EvaluationRun(config, self.metrics, self.primary_metric, seed, trained.best_of),
        )
        result = evaluated.result
        write_jsonl_atomically(folder / SAMPLES, (sample.to_json() for sample in result.samples))
        problems = [*trained.actors.notes, *result.problems]
        problems += self._write_traces(trained, stages, evaluated, folder)
        problems += trouble(folder, trained.actors.halvings.notices)
        metrics, unscored = aggregate(result, score=self.primary_metric)
        return dataclasses.replace(
            record,
            status="complete",
            arm={**record.arm, **trained.arm},
            task={**record.task, "has_oracle": "oracle" in metrics},
            budget={
                **dataclasses.asdict(trained.budget),
                "prompts": len(result.samples),
                "max_response_tokens": config.sampling.max_response_tokens,
            },
            metrics=metrics,
            unscored=unscored,
            problems=problems,
            higher_is_better=dict(result.higher_is_better),
            costs=self.world.on_main(
                "costs",
                lambda: cell_costs(
                    folder, checkpoints, trained_seconds=trained_seconds, updates=trained.budget.updates
                ),
            ),
        )

    def _train(
        self, arm: ArmPlan, checkpoints: Checkpoints, stages: SharedStages, seed: int, progress: Progress
    ) -> Trained:
        folder, world = self._folder(arm, seed), self.world
        config = self.plan.config
        data = self.prepared().data
        ppo = arm.ppo(config)
        lora = config.lora
        start = stages.sft.folder if lora.rank is None else NewAdapter(lora, seed)
        actors = self._actors(stages, policy=start, critic_scale=stages.critic_scale(ppo))
        rule = self._fitted_rule(arm, actors)
        length = self._mean_macro_length(rule, actors)
        build = self.registry.baseline(arm.baseline).build
        baseline: PolicyBaseline = build(PolicyContext(ppo, rule, length))  # type: ignore[assignment]  # a policy baseline's
        check_needs(baseline.needs, arm=arm.label)
        if "critic" not in baseline.needs:
            actors = dataclasses.replace(actors, critic=None)
        run = PpoRun(
            arm.label,
            seed,
            config.sampling,
            stages.score_std,
            folder,
            checkpoints=checkpoints,
            guards=config.guards,
            importance_cap=config.sampler.importance_cap,
        )
        budget = train_ppo(run, actors, self.task, baseline, data.rl_prompts, progress)
        merged = lora.save == "merged"
        save_models(folder, actors, merged=merged)
        save_best_policy(folder, actors, checkpoints, merged=merged)
        facts: dict[str, Any] = {"mean_macro_length": length if length is not None and math.isfinite(length) else None}
        if rule is not None and hasattr(rule, "content_hash"):  # rules that are fitted to the data
            facts["rule_content_hash"] = rule.content_hash
        if config.lora.rank is not None:
            facts["lora"] = adapter_facts(actors.trained(), lora)
        facts["fallbacks"] = world.on_main(
            "curve", lambda: sum(line["fallbacks"] for line in read_jsonl(folder / CURVE))
        )
        return Trained(actors, budget, facts, baseline)

    def _train_by_itself(
        self, arm: ArmPlan, seed: int, folder: Path, stages: SharedStages, spec: BaselineSpec, progress: Progress
    ) -> Trained:
        config, data, ppo = self.plan.config, self.prepared().data, arm.ppo(self.plan.config)
        start = self._actors(stages, policy=stages.sft.folder, critic_scale=None, divided=False)
        context = TrainContext(
            sft=stages.sft.folder,
            reward_model=stages.reward_model.folder if stages.reward_model else None,
            data=data,
            cell=folder,
            seed=seed,
            ppo=ppo,
            sampling=config.sampling,
            updates=ppo.planned_updates(len(data.rl_prompts)),
            score=TextScores(start, self.task, ppo, stages.score_std),
            dtype=config.model.dtype,
            step=lambda done, total, figures: report_step(progress, arm.baseline, done, total, **figures),
        )
        trainer: TrainerBaseline = spec.build()  # type: ignore[assignment]  # kind says which protocol it is
        found = trainer.train(context)
        budget = Budget(found.updates, found.responses_sampled, found.tokens_sampled)
        facts = {"best_of": found.best_of} if found.best_of > 1 else {}
        source = policy_source(found.path, sft=stages.sft.folder, lora=config.lora)
        actors = self._actors(stages, policy=source, critic_scale=None)
        return Trained(actors, budget, facts, best_of=found.best_of)

    def _write_traces(self, trained: Trained, stages: SharedStages, evaluated: Evaluated, folder: Path) -> list[str]:
        """Writes the macro actions of the first evaluated samples; returns what went wrong."""
        if trained.baseline is None or not self.world.is_main:
            return []
        last = list(read_jsonl(folder / CURVE))[-1]
        tracing = Tracing(
            baseline=trained.baseline,
            actors=trained.actors,
            sampling=self.plan.config.sampling,
            kl_coef=last["kl_coef"],
            score_std=stages.score_std,
            score=self.primary_metric,
        )
        return write_macro_traces(folder, tracing, evaluated.sampled, evaluated.result.samples)

    def _actors(
        self, stages: SharedStages, *, policy: Path | NewAdapter, critic_scale: float | None, divided: bool = True
    ) -> Actors:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        divided = divided and self.plan.config.memory.shard
        reward_model = stages.reward_model.folder if stages.reward_model else None
        actors = load_actors(
            policy=policy,
            sft=stages.sft.folder,
            reward_model=reward_model,
            dtype=self.plan.config.model.dtype,
            critic_scale=critic_scale,
            device=torch.device("cpu") if divided else device,
            rewards=parse_reward_sources(self.plan.config.reward.sources),
        )
        if self.plan.config.guards.out_of_memory == "stop":
            actors.halvings.forbid()
        actors = with_speed(dataclasses.replace(actors, world=self.world), self.plan.config.speed)
        actors = with_memory(actors, self.plan.config.memory)
        actors = sharded(actors, device) if divided else actors
        return dataclasses.replace(actors, sampler=self._samplers.of(actors, start_from=stages.sft.folder))

    def _fitted_rule(self, arm: ArmPlan, actors: Actors) -> TerminationRule | None:
        if arm.rule is None:
            return None
        pairs = self.prepared().data.sft
        ids = (actors.tokenizer(pair.response, add_special_tokens=False)["input_ids"] for pair in pairs)
        return build_rule(arm.rule, self.registry).fit(ids)

    def _mean_macro_length(self, rule: TerminationRule | None, actors: Actors) -> float | None:
        """Returns the rule's nominal length, or its mean macro length on a rollout of the SFT model, the same for all arms and seeds."""
        if rule is None or rule.nominal_length is not None:
            return rule.nominal_length if rule else None
        config = self.plan.config
        prompts: Sequence[Prompt] = self.prepared().data.rl_prompts[: config.ppo.batch_size]
        rollout: Rollout = roll_out(
            actors,
            self.task,
            prompts,
            sampling=config.sampling,
            ppo=config.ppo,
            needs=rule.needs,
            seed_parts=(config.data.seed, "macro length"),
        ).rollout
        lengths = rule.segment(rollout).macro_lengths
        return float(lengths[lengths > 0].double().mean())

    def _first_record(self, arm: ArmPlan, seed: int, stages: SharedStages) -> RunRecord:
        prepared = self.prepared()
        digests = {"data": prepared.digest, "sft": stages.sft.digest}
        shared: dict[str, Any] = {
            "data": {
                "source": self.plan.config.data.source_name,
                "counts": dict(prepared.data.counts),
                "notes": list(prepared.data.notes),
            },
            "sft": dict(stages.sft.figures),
        }
        if stages.reward_model is not None:
            digests["reward_model"] = stages.reward_model.digest
            shared["reward_model"] = dict(stages.reward_model.figures)
        if stages.reward is not None:
            digests["reward"] = stages.reward.digest
            shared["reward"] = dict(stages.reward.figures)
        device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
        return RunRecord(
            experiment=self.plan.experiment,
            status="running",
            task={
                "id": self.spec.id,
                "version": self.spec.version,
                "primary_metric": self.primary_metric,
                "has_oracle": False,
            },
            arm=arm_record(arm, self.registry.baseline(arm.baseline)),
            seed=seed,
            config_hash=self.plan.config_hash,
            digests=digests,
            shared=shared,
            environment=environment(
                device=device,
                threads=self.plan.threads,
                processes=self.world.size,
                packages=sampler_packages(self.plan.config),
            ),
        )

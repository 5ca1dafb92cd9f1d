"""The verb `marl-bench run`."""

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from marl_bench.cli.experiments import resolved_config, run_and_show
from marl_bench.cli.judge import check_judge, judge_complete_run
from marl_bench.cli.shared import PluginPaths
from marl_bench.errors import ConfigError

if TYPE_CHECKING:
    from marl_bench.config_layers import ResolvedConfig
    from marl_bench.planning import Plan
    from marl_bench.plugins import Registry


def run(  # noqa: PLR0913 (one parameter an option)
    task: Annotated[
        str | None, typer.Option(metavar="TASK", help="Task; see marl-bench list tasks.  [default: tldr]")
    ] = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ARM",
            help="BASELINE[:RULE(args)][@option=value,...] or a grid (repeatable); bare macro_ppo is fixed(n=5).  "
            "[default: the preset's]",
        ),
    ] = None,
    seeds: Annotated[int | None, typer.Option(metavar="N", help="Number of seeds.  [default: the preset's]")] = None,
    preset: Annotated[
        str | None, typer.Option(metavar="PRESET", help="Preset; see marl-bench list presets.  [default: tiny]")
    ] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="YAML file with configuration keys.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Dotted key, for example ppo.kl_coef=0.1 (repeatable)."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="SOURCE", help="embedded, hub, or a folder with the hub's schema.  [default: embedded]"),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="tiny (the task's own), a hub id, or a from_pretrained folder.  [default: tiny]"
        ),
    ] = None,
    sft_model: Annotated[str | None, typer.Option(metavar="PATH", help="Finished SFT model; skips that stage.")] = None,
    reward_model: Annotated[
        str | None, typer.Option(metavar="PATH", help="Finished reward model; skips that stage.")
    ] = None,
    reward: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE",
            help="[WEIGHT*]SOURCE (repeatable): task, classifier:FOLDER_OR_HUB_ID, python:FILE.py:NAME.  [default: task]",
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC",
            help="Metric beside the task's own (repeatable): a name (marl-bench list metrics), python:FILE.py:NAME, evaluate:NAME:RESULT.",
        ),
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            metavar="SAMPLER", help="transformers or vllm; --set sampler.KEY=VALUE for more.  [default: transformers]"
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="The experiment's own folder.  [default: results/TASK-PRESET-HASH]"),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="At most N items of each stage's data and of the evaluation.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Worker processes.  [default: one a core]")
    ] = None,
    threads: Annotated[int, typer.Option(metavar="N", min=1, help="Threads of each worker.")] = 1,
    with_controls: Annotated[
        bool,
        typer.Option("--with-controls", help="Add the controls of every macro arm that are not among the arms yet."),
    ] = False,
    judge: Annotated[
        str | None,
        typer.Option(metavar="JUDGE", help="Then judge by openai:MODEL; marl-bench judge has all its options."),
    ] = None,
    base_url: Annotated[str | None, typer.Option(metavar="URL", help="Server of the judge.")] = None,
    track: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TRACKER",
            help="Also send every figure to tensorboard, wandb, mlflow or trackio (repeatable); files go to RUN/tracking.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show configuration, cells and an estimate; do nothing.")
    ] = False,
    gpu: Annotated[
        str | None,
        typer.Option(
            metavar="GPU", help="With --dry-run: memory and time on this GPU (h100, a100-80, l40s, 4090, ...)."
        ),
    ] = None,
    gpus: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="With --gpu: so many of them.  [default: 1]")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress; results are still printed.")] = False,
    plugin: PluginPaths = None,
) -> None:
    """Train and compare the arms of a task; the same command again goes on from what is finished."""
    from marl_bench.controls import add_controls
    from marl_bench.experiment import check_plan, default_jobs
    from marl_bench.launch import forget_launch, joined, read_launch
    from marl_bench.planning import make_plan
    from marl_bench.plugins import Registry
    from marl_bench.together import check_world, follow, leading
    from marl_bench.trackers import check_trackers

    if gpus is not None and gpu is None:
        raise ConfigError(f"--gpus {gpus}: say which with --gpu, for example --dry-run --gpu h100 --gpus {gpus}.")
    if gpu is not None and not dry_run:
        raise ConfigError(f"--gpu {gpu}: is what --dry-run estimates for; a run takes the GPUs that are there.")
    options = {
        "--task": ("task", task),
        "--arm": ("arms", arm or None),
        "--seeds": ("seeds", seeds),
        "--data": ("data.source", data),
        "--model": ("model.path", model),
        "--sft-model": ("sft.path", sft_model),
        "--reward-model": ("reward_model.path", reward_model),
        "--reward": ("reward.sources", reward or None),
        "--metric": ("evaluation.metrics", metric or None),
        "--sampler": ("sampler.backend", sampler),
        "--limit": ("data.limit", limit),
    }
    launch = read_launch(os.environ)
    if launch is None:
        forget_launch(os.environ)

    def planned(size: int) -> tuple["Registry", "ResolvedConfig", "Plan"]:
        registry = Registry(plugin or [])
        resolved = resolved_config(preset, config, options, set_ or [], registry)
        if with_controls:
            resolved = add_controls(resolved, registry)
        # Several processes work on one cell together, so there is one cell at a time.
        plan = make_plan(
            resolved, registry, out=out, jobs=1 if size > 1 else jobs or default_jobs(resolved.config), threads=threads
        )
        plan = dataclasses.replace(plan, trackers=check_trackers(track or []))
        check_world(plan, size)
        check_plan(plan)
        if judge is not None:
            check_judge(judge, base_url)
        return registry, resolved, plan

    with joined(launch) as world:
        registry, resolved, plan = world.together("settings", lambda: planned(world.size))
        if not world.is_main:
            follow(world, plan)
            return
        with leading(world):
            if world.size > 1 and jobs is not None:
                typer.echo(
                    f"Warning: --jobs {jobs} has no effect under torchrun: its {world.size} processes work on one cell together.",
                    err=True,
                )
            for warning in plan.warnings():
                typer.echo(f"Warning: {warning}", err=True)
            if dry_run:
                from marl_bench.cli.dry_run import show_plan

                show_plan(plan, resolved, registry.task(plan.config.task), gpu=gpu, gpus=gpus or 1)
                return
            run_and_show(plan, world, quiet=quiet)
            if judge is not None:
                judge_complete_run(plan.root, judge, base_url, registry=registry, quiet=quiet)

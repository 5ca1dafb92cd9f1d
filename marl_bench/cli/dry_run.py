"""What `marl-bench run --dry-run` prints: configuration, cells, sizes, and estimates for this machine or a named GPU."""

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from marl_bench.config_layers import ResolvedConfig
    from marl_bench.estimates.on_gpu import GpuEstimate
    from marl_bench.estimates.sizes import Sizes
    from marl_bench.interfaces import TaskSpec
    from marl_bench.planning import Plan


def show_plan(plan: "Plan", resolved: "ResolvedConfig", task: "TaskSpec", *, gpu: str | None, gpus: int) -> None:
    """Prints what a run would do; reads local data where the number of steps hangs on them, and fetches nothing for models that presets name."""
    from marl_bench.config_layers import describe
    from marl_bench.estimates.gpus import gpu_named
    from marl_bench.estimates.sizes import stage_sizes
    from marl_bench.experiment import remaining

    machine = gpu_named(gpu) if gpu is not None else None  # a wrong name is heard of first
    typer.echo("Configuration (key = value, from)")
    for key, value, origin in describe(resolved):
        typer.echo(f"  {key} = {value}  ({origin})")
    todo = remaining(plan)
    typer.echo(f"Experiment {plan.root} (hash {plan.config_hash[:12]})")
    for arm in plan.arms:
        typer.echo(f"  arm {arm.label} -> cells/{arm.name}-seed0 .. seed{plan.config.seeds - 1}")
    typer.echo(f"Cells: {len(plan.cells())}, of which {todo.finished} are complete; {plan.jobs} side by side")
    sizes = stage_sizes(task, plan.config)
    _show_sizes(plan, sizes)
    if machine is None:
        _show_cpu_time(plan)
    else:
        _show_gpu(plan, sizes, name=gpu or "", gpus=gpus)


def _show_sizes(plan: "Plan", sizes: "Sizes") -> None:
    from marl_bench.estimates.room import parameters_of
    from marl_bench.estimates.sizes import ppo_updates, supervised_steps, warmup_warning

    config = plan.config
    updates = ppo_updates(config, sizes)
    counted = f"{updates} updates" if updates is not None else "one pass over the RL prompts in updates"
    typer.echo(
        f"Sizes: {parameters_of(plan):,} parameters; {counted} of {config.ppo.batch_size} prompts, up to "
        f"{config.sampling.max_prompt_tokens} + {config.sampling.max_response_tokens} tokens"
    )
    rows = {"SFT": sizes.sft, "reward model": sizes.preferences, "PPO": sizes.rl}
    if sizes.rl is not None:
        listed = ", ".join(f"{count:,} for {name}" for name, count in rows.items() if count)
        typer.echo(f"Rows ({sizes.origin}): {listed}")
    stages = {"SFT": (config.sft, sizes.sft)}
    if "reward_model" in plan.stages:
        stages["reward model"] = (config.reward_model, sizes.preferences)
    for name, (settings, examples) in stages.items():
        steps = supervised_steps(settings, examples)
        if settings.path is None:
            typer.echo(f"Steps of {name}: {steps if steps is not None else 'not known before the data are read'}")
    warning = warmup_warning(config, updates)
    if warning:
        typer.echo(f"Warning: {warning}", err=True)


def _show_cpu_time(plan: "Plan") -> None:
    from marl_bench.display import duration
    from marl_bench.estimates.room import parameters_of
    from marl_bench.estimates.work import work_of

    work = work_of(plan, trained_cells=plan.trained_cells())
    seconds = work.seconds(parameters=parameters_of(plan), jobs=plan.jobs)
    typer.echo(f"Estimate on one CPU core a job, if nothing were complete: about {duration(seconds)}")
    if seconds > 7 * 24 * 3600:
        typer.echo("  --gpu h100 --gpus 8 estimates memory and time on GPUs instead")


def _show_gpu(plan: "Plan", sizes: "Sizes", *, name: str, gpus: int) -> None:
    from marl_bench.errors import ConfigError
    from marl_bench.estimates.gpus import gpu_named
    from marl_bench.estimates.memory import Load
    from marl_bench.estimates.on_gpu import estimate_on
    from marl_bench.estimates.seconds import Machine
    from marl_bench.estimates.shapes import shape_of
    from marl_bench.estimates.sizes import ppo_updates
    from marl_bench.models.loading import model_folder

    model = plan.config.sft.path or plan.base_model
    shape = shape_of(model) or shape_of(model_folder(model))
    if shape is None:
        raise ConfigError(
            f"--gpu {name}: the shape of model '{model}' is not known; give the folder of a Llama, Mistral, Qwen 2, Gemma or Gemma 2 model, "
            "or one of the models that presets name."
        )
    estimate = estimate_on(
        Machine(gpu_named(name), gpus),
        Load(plan.config, shape, reward_model="reward_model" in plan.stages),
        sizes,
        updates=ppo_updates(plan.config, sizes),
        trained_cells=plan.trained_cells(),
        cells=len(plan.cells()),
    )
    _show_memory(estimate)
    _show_seconds(plan, estimate)


def _show_memory(estimate: "GpuEstimate") -> None:
    from marl_bench.estimates.memory import GIB

    machine = estimate.machine
    gpu, memories = machine.gpu, [estimate.memory]
    if estimate.sharded is not None:
        memories.append(estimate.sharded)
    typer.echo(f"Estimate for {machine.count} x {gpu.name} ({gpu.memory_gib} GiB each), lengths at their limits")
    heads = ["everything on each", f"divided among {machine.count} (memory.shard=true)"][: len(memories)]
    heads[1 if estimate.divided and len(memories) > 1 else 0] += ", as configured"
    typer.echo(f"Memory of a GPU in PPO, GiB: {' | '.join(heads)}")
    for term in estimate.memory.held:
        typer.echo(f"  {term}: " + " | ".join(f"{memory.held[term] / GIB:.1f}" for memory in memories))
    for phase in estimate.memory.phases:
        peaks = " | ".join(f"{memory.of_phase(phase) / GIB:.1f}" for memory in memories)
        terms = ", ".join(f"{name} {count / GIB:.1f}" for name, count in memories[-1].phases[phase].items())
        typer.echo(f"  with {phase}: {peaks}  (last: {terms})")
    for memory, head in zip(memories, heads, strict=True):
        verdict = "fits" if memory.fits(gpu) else "does not fit"
        typer.echo(
            f"  {head}: needs {memory.needed_gib:.1f} of {gpu.memory_gib} GiB (most in {memory.peak_phase}): {verdict}"
        )
    if not estimate.fits:
        typer.echo("It does not fit. What would lower the need, each by itself:")
        for advice in estimate.advice:
            typer.echo(f"  {advice.text}: {advice.needed_gib:.1f} GiB" + (", fits" if advice.fits else ""))


def _show_seconds(plan: "Plan", estimate: "GpuEstimate") -> None:
    from marl_bench.display import duration
    from marl_bench.estimates.seconds import BANDWIDTH_SHARE, MATRIX_SHARE

    typer.echo(
        f"Time, at {MATRIX_SHARE:.0%} of the matrix rate and {BANDWIDTH_SHARE:.0%} of the bandwidth, talk between GPUs not counted"
    )
    phases = ", ".join(f"{name} {duration(seconds)}" for name, seconds in estimate.update.items())
    typer.echo(f"  a PPO update: {duration(sum(estimate.update.values()))} ({phases})")
    for name, seconds in estimate.stages.items():
        typer.echo(f"  {name}: {duration(seconds)}")
    typer.echo(f"  an evaluation: {duration(estimate.evaluation)}")
    if estimate.total is None:
        typer.echo("  all: not known before the data are read")
    else:
        typer.echo(f"  all {len(plan.cells())} cells, one after the other: {duration(estimate.total)}")

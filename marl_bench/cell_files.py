"""The files that a cell's training leaves: checkpoints while it goes on, policy and critic when it has ended."""

import resource
import shutil
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from marl_bench.macro_traces import MACRO_ACTIONS
from marl_bench.models.actors import Actors
from marl_bench.models.adapters import save_model
from marl_bench.models.loading import save_tokenizer
from marl_bench.models.sharding import is_sharded, whole_weights
from marl_bench.planning import ArmPlan, Plan
from marl_bench.provenance import now
from marl_bench.records import RunRecord
from marl_bench.run_dir import (
    CHECKPOINTS,
    CURVE,
    SAMPLES,
    TIMINGS,
    folder_written_atomically,
    read_jsonl,
    remove_leftovers,
    write_json_atomically,
)
from marl_bench.training.checkpoint import Checkpoint, Checkpoints
from marl_bench.training.progress import Progress
from marl_bench.training.resume import policy_weights
from marl_bench.training.state import TrainedWeights
from marl_bench.world import ALONE, World

BEST_POLICY = "best_policy"


def cell_checkpoints(
    plan: Plan, arm: ArmPlan, record: RunRecord, progress: Progress, world: World = ALONE
) -> Checkpoints:
    """Returns the checkpoints of a cell, which know all that the cell stands on."""
    folder = plan.run_dir.cell(arm.name, record.seed)
    return Checkpoints(
        folder / CHECKPOINTS,
        {"configuration": plan.config_hash, "arm": arm.label, "seed": record.seed, **record.digests},
        plan.config.checkpoints,
        versions={"baseline version": arm.version, "rule hash": arm.rule.hash if arm.rule else None},
        lines=(folder / CURVE, folder / TIMINGS),
        say=progress.note,
        world=world,
    )


def clear_unfinished(folder: Path) -> None:
    """Removes what an evaluation that was cut off has left; the training's own files are cut back by its checkpoints."""
    remove_leftovers(folder)
    for name in (SAMPLES, MACRO_ACTIONS):
        (folder / name).unlink(missing_ok=True)
    for name in ("policy", "critic", BEST_POLICY):
        shutil.rmtree(folder / name, ignore_errors=True)


def save_models(folder: Path, actors: Actors, *, merged: bool) -> None:
    """Writes policy and critic as `from_pretrained` folders; `merged` folds adapters in, else they are written alone.

    Called by all processes, of which the first one writes.
    """
    main, trained = actors.world.is_main, actors.trained()
    divided = is_sharded(list(actors.policy.parameters()))
    # All before the first is written: the others would wait in vain for a process whose disk is full.
    weights = {name: whole_weights(model, kept=main) for name, model in trained.items()} if divided else {}
    for name, model in trained.items() if main else ():
        with folder_written_atomically(folder / name) as temporary:
            save_model(model, temporary, merged=merged, weights=weights.get(name))
            save_tokenizer(actors.tokenizer, temporary)


def save_best_policy(folder: Path, actors: Actors, checkpoints: Checkpoints, *, merged: bool) -> None:
    """Writes the policy with the best training score beside the last one, where it was asked for; the last one stays in memory."""
    best = checkpoints.best() if checkpoints.settings.keep_best else None
    if best is None or not checkpoints.world.is_main:
        return
    if is_sharded(list(actors.policy.parameters())):
        _write_best(folder, actors, best, merged=merged, weights=policy_weights(best))
        return
    weights = TrainedWeights(actors.policy)
    last = {name: weight.clone() for name, weight in weights.state_dict().items()}
    weights.load_state_dict(dict(policy_weights(best)))
    _write_best(folder, actors, best, merged=merged)
    weights.load_state_dict(last)


def _write_best(
    folder: Path, actors: Actors, best: Checkpoint, *, merged: bool, weights: Mapping[str, torch.Tensor] | None = None
) -> None:
    with folder_written_atomically(folder / BEST_POLICY) as temporary:
        save_model(actors.policy, temporary, merged=merged, weights=weights)
        save_tokenizer(actors.tokenizer, temporary)
        facts = {"position": best.position, "training_score": best.manifest["score"]}
        write_json_atomically(temporary / "best.json", facts)


def cell_costs(folder: Path, checkpoints: Checkpoints, *, trained_seconds: float, updates: int) -> Mapping[str, Any]:
    """Returns what a cell took, for its record: seconds by part, peak memory, when it ended."""
    timings = list(read_jsonl(folder / TIMINGS)) if (folder / TIMINGS).exists() else []
    ended = checkpoints.seconds()
    seconds = {part: sum(line[f"{part}_seconds"] for line in timings) for part in ("rollout", "update", "reward_wait")}
    seconds |= {"evaluation": ended - trained_seconds, "total": ended}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)
    costs: dict[str, Any] = {"seconds": seconds, "peak_memory_mib": peak, "finished_at": now()}
    if timings:
        # The median: the first update of a worker also pays for what is loaded and compiled once.
        costs["seconds_per_update"] = statistics.median(
            line["rollout_seconds"] + line["update_seconds"] for line in timings
        )
    elif updates:  # another trainer, which does not tell
        costs["seconds_per_update"] = trained_seconds / updates
    if notes := checkpoints.notes():
        costs["resumed"] = notes
    return costs

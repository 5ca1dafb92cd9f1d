"""Helpful and harmless dialogue: embedded dialogues with a known optimum, or HH-RLHF from a folder or the hub."""

from pathlib import Path

from marl_bench.interfaces import StageRows, TaskSpec
from marl_bench.judging.prompts import load_judge_prompts
from marl_bench_tasks.hh.sources import DAHOAS_ID, PUBLISHED_ROWS
from marl_bench_tasks.hh.task import SHARES, HhTask, Options


def _hub_rows(options: Options) -> StageRows:
    """Returns what the split of the published rows comes to."""
    parts = [DAHOAS_ID] if options.dataset == "dahoas" else options.subsets
    rows = sum(PUBLISHED_ROWS[part]["train"] for part in parts)
    sft, preferences = (round(share * rows) for share in SHARES)
    return StageRows(sft, preferences, rows - sft - preferences)


# The data set of the released code; its 112,052 rows leave 44,821 for PPO.
PAPER = {"task_options": {"dataset": "dahoas"}, "ppo": {"updates": 44_821 // 256}}

TASK = TaskSpec(
    id="hh",
    version="1",
    summary="answers in dialogues (Anthropic/hh-rlhf, Dahoas/full-hh-rlhf); embedded dialogues with a known optimum",
    build=HhTask,
    config_type=Options,
    judge_prompts=load_judge_prompts(Path(__file__).parent / "judge_prompts.yaml"),
    base_model=Path(__file__).parent / "tiny_base",
    # When to refuse takes the reward model longer to learn than what to say.
    settings={
        "tiny": {"reward_model": {"max_steps": 160, "learning_rate": 6.0e-4}},
        "paper-gemma-2b": PAPER,
        "paper-gemma-7b": {**PAPER, "reward_model": {"batch_size": 64}},
        "paper-gemma-27b": PAPER,
    },
    hub_rows=_hub_rows,
)

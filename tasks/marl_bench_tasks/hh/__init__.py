"""Helpful and harmless dialogue: embedded dialogues with a known optimum, or HH-RLHF from a folder or the hub."""

from pathlib import Path

from marl_bench.interfaces import TaskSpec
from marl_bench.judging.prompts import load_judge_prompts
from marl_bench_tasks.hh.task import HhTask, Options

TASK = TaskSpec(
    id="hh",
    version="1",
    summary="answers in dialogues (Anthropic/hh-rlhf, Dahoas/full-hh-rlhf); embedded dialogues with a known optimum",
    build=HhTask,
    config_type=Options,
    judge_prompts=load_judge_prompts(Path(__file__).parent / "judge_prompts.yaml"),
    base_model=Path(__file__).parent / "tiny_base",
    # When to refuse takes the reward model longer to learn than what to say.
    settings={"tiny": {"reward_model": {"max_steps": 160, "learning_rate": 6.0e-4}}},
)

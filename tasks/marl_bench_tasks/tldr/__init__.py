"""TL;DR summarization: embedded posts with a known optimum, or openai/summarize_from_feedback from a folder or the hub."""

from pathlib import Path

from marl_bench.interfaces import TaskSpec
from marl_bench.judging.prompts import load_judge_prompts
from marl_bench_tasks.tldr.task import Options, TldrTask

TASK = TaskSpec(
    id="tldr",
    version="1",
    summary="summaries of Reddit posts (openai/summarize_from_feedback); embedded posts with a known optimum",
    build=TldrTask,
    config_type=Options,
    judge_prompts=load_judge_prompts(Path(__file__).parent / "judge_prompts.yaml"),
)

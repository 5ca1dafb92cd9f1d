"""TL;DR summarization: embedded posts with a known optimum, or openai/summarize_from_feedback from a folder or the hub."""

from pathlib import Path

from marl_bench.interfaces import StageRows, TaskSpec
from marl_bench.judging.prompts import load_judge_prompts
from marl_bench_tasks.tldr.task import Options, TldrTask

# The released code goes once through all 37,143 rows of its third part, in which a post may stand several times; here a post is one prompt,
# so that many updates go through them more than once. Its prompts have the wording `official_code`.
PAPER = {"task_options": {"prompt": "official_code"}, "ppo": {"updates": 37_143 // 256}}

TASK = TaskSpec(
    id="tldr",
    version="1",
    summary="summaries of Reddit posts (openai/summarize_from_feedback); embedded posts with a known optimum",
    build=TldrTask,
    config_type=Options,
    judge_prompts=load_judge_prompts(Path(__file__).parent / "judge_prompts.yaml"),
    settings={f"paper-gemma-{size}": PAPER for size in ("2b", "7b", "27b")},
    hub_rows=lambda _: StageRows(sft=18_572, preferences=37_143, rl=37_143),
)

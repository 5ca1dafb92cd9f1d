"""Long answers with references: embedded questions with a known optimum, or openai/webgpt_comparisons from a folder or the hub."""

from pathlib import Path

from marl_bench.interfaces import TaskSpec
from marl_bench.judging.prompts import load_judge_prompts
from marl_bench_tasks.webgpt.task import Options, WebgptTask

TASK = TaskSpec(
    id="webgpt",
    version="1",
    summary="long answers with references (openai/webgpt_comparisons); embedded questions with a known optimum",
    build=WebgptTask,
    config_type=Options,
    judge_prompts=load_judge_prompts(Path(__file__).parent / "judge_prompts.yaml"),
    base_model=Path(__file__).parent / "tiny_base",
    settings={
        "tiny": {
            "sampling": {"max_response_tokens": 108},
            "reward_model": {"max_steps": 160, "learning_rate": 5.0e-4},
            "ppo": {"updates": 18},
            "evaluation": {"max_prompts": 256},
        }
    },
)

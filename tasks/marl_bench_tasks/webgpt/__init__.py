"""Long answers with references: embedded questions with a known optimum, or openai/webgpt_comparisons from a folder or the hub."""

from pathlib import Path

from marl_bench.interfaces import StageRows, TaskSpec
from marl_bench.judging.prompts import load_judge_prompts
from marl_bench_tasks.webgpt.task import Options, WebgptTask

# Of 19,578 rows 1,000 are held out here and two fifths of the rest are for PPO; what the released code held out is not known.
PAPER = {"ppo": {"updates": 7_431 // 256}}

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
        },
        "paper-gemma-2b": {
            **PAPER,
            "sft": {"batch_size": 64, "learning_rate": 1.0e-4},
            "reward_model": {"batch_size": 32, "learning_rate": 2.0e-5},
        },
        "paper-gemma-7b": {
            "sft": {"epochs": 5},
            "reward_model": {"batch_size": 32},
            "ppo": {**PAPER["ppo"], "kl_coef": 0.1},
        },
        "paper-gemma-27b": PAPER,
    },
    hub_rows=lambda _: StageRows(sft=3_716, preferences=7_431, rl=7_431),
)

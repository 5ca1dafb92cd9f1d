"""Program synthesis judged by running the programs: embedded problems with a known optimum, or codeparrot/apps from a folder or the hub."""

from pathlib import Path

from marl_bench.interfaces import StageRows, TaskSpec
from marl_bench_tasks.apps.scores import SCORE_RANGE
from marl_bench_tasks.apps.task import Options, build_task

TASK = TaskSpec(
    id="apps",
    version="1",
    summary="Python programs judged by their tests (codeparrot/apps); embedded problems with a known optimum",
    build=build_task,
    config_type=Options,
    reward_kind="rule",
    primary_metric="apps_score",
    score_range=SCORE_RANGE,
    base_model=Path(__file__).parent / "tiny_base",
    settings={
        "tiny": {
            "task_options": {"timeout_seconds": 1.0},
            "sampling": {"max_response_tokens": 112},
            "sft": {"max_steps": 200},
            "ppo": {"updates": 16, "learning_rate": 2.0e-4, "critic_learning_rate": 1.0e-3},
            "evaluation": {"max_prompts": 64, "samples_per_prompt": 5},
        }
    },
    hub_rows=lambda _: StageRows(sft=1_000, preferences=0, rl=4_000),
)

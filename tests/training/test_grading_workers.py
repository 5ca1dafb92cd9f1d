"""A training whose responses are graded by running programs: how many run side by side changes no byte."""

import json

import torch
from marl_bench_baselines.macro_ppo import MacroPpo
from marl_bench_tasks.apps.grader import ProgramGrader, suite_text
from marl_bench_tasks.apps.scores import apps_adaptive

from marl_bench.execution.programs import Limits
from marl_bench.macro.termination import EveryNTokens
from marl_bench.training.ppo import train_ppo
from marl_bench.training.progress import NoProgress

PROGRAMS = (
    "import time\ndef f(n):\n    time.sleep(0.05)\n    return 2 * n",  # the best is the last to end
    "def f(n):\n    return 2 * n if n < 2 else 0",
    "def f(n):\n    return 1 / 0",
    "def f(n:",
)
CONTENT = {"fn_name": "f", "inputs": [[n] for n in range(4)], "outputs": [[2 * n] for n in range(4)]}
TESTS = suite_text("p", {"problem_id": "p", "input_output": json.dumps(CONTENT)}, ("problem_id", "input_output"))


class GradedTask:
    """Takes the length of a response for the choice of a program, and grades that one."""

    metrics = ()

    def __init__(self, workers):
        self.grader = ProgramGrader(Limits(timeout_seconds=5.0), workers=workers)

    def score(self, prompts, responses):
        # A comment of its own makes each program one that the grader does not know.
        texts = [
            f"{PROGRAMS[response.token_count % 4]}\n# {row} {response.text!r}" for row, response in enumerate(responses)
        ]
        return [apps_adaptive(result) for result in self.grader.grade([(TESTS, text) for text in texts])]

    def oracle(self, prompts, responses):
        return None


def test_the_number_of_graders_changes_no_byte_of_curve_and_weights(make_actors, make_run, prompts, ppo):
    curves, weights = [], []
    for workers in (1, 3):
        run, actors, task = make_run(f"workers{workers}"), make_actors(), GradedTask(workers)
        train_ppo(run, actors, task, MacroPpo(EveryNTokens(3), ppo), prompts, NoProgress())
        task.grader.close()
        curves.append((run.folder / "metrics.jsonl").read_bytes())
        weights.append(torch.cat([weight.detach().flatten() for weight in actors.policy.parameters()]))
    assert json.loads(curves[0].splitlines()[0])["score_std"] > 0
    assert curves[0] == curves[1]
    assert torch.equal(*weights)

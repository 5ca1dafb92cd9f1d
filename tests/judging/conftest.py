"""A run to judge, and the server that misbehaves on purpose."""

import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from marl_bench.records import EvalSample, Response, RunRecord
from marl_bench.run_dir import (
    RECORD,
    SAMPLES,
    RunDir,
    write_json_atomically,
    write_jsonl_atomically,
    write_text_atomically,
)


@pytest.fixture(scope="session")
def wire():
    """The module with the server and its replies."""
    name = "misbehaving_server"
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def server(wire, monkeypatch):
    for variable in (
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
    ):
        monkeypatch.delenv(variable, raising=False)
    found = wire.Server()
    yield found
    found.close()


@pytest.fixture
def clock(wire):
    return wire.PassingClock()


ROLES = {"sft": "start", "token_ppo": "token", "macro_ppo-fixed_n5": "macro"}


def record(arm: str, seed: int, *, task: str = "tldr", oracle: bool = False) -> RunRecord:
    return RunRecord(
        experiment="tldr-tiny-0123abcd",
        status="complete",
        task={"id": task, "version": "1", "primary_metric": "reward_model_score", "has_oracle": oracle},
        arm={
            "name": arm,
            "label": arm.replace("-fixed_n5", ":fixed(n=5)"),
            "baseline": arm.split("-")[0],
            "rule": None,
            "role": ROLES[arm],
            "trained": arm != "sft",
            "isolates": "",
        },
        seed=seed,
        config_hash="c0ffee" + "0" * 58,
        digests={"data": "d" * 64},
        metrics={"reward_model_score": 0.0, **({"oracle": 0.0} if oracle else {})},
        higher_is_better={"reward_model_score": True, "oracle": True},
    )


@pytest.fixture
def make_run(tmp_path):
    """Lays a run out on disk: one response an arm, prompt and seed, whose text a function gives."""

    def make(
        prompts: int = 6,
        *,
        text: Callable[[str, int, int], str],
        arms: Sequence[str] = tuple(ROLES),
        seeds: Sequence[int] = (0,),
        subset: Callable[[int], str] = lambda _: "",
        prompt: Callable[[int], str] = lambda number: f"SUBREDDIT: r/all\n\nPOST: story {number}\n\nTL;DR:",
        name: str = "run",
        **changes: Any,
    ) -> RunDir:
        run_dir = RunDir(tmp_path / name)
        write_text_atomically(run_dir.config, "config_hash: c0ffee\n")
        for arm in arms:
            for seed in seeds:
                folder = run_dir.cell(arm, seed)
                write_json_atomically(folder / RECORD, record(arm, seed, **changes).to_json())
                metrics = {"reward_model_score": 0.0, **({"oracle": float(len(arm))} if changes.get("oracle") else {})}
                write_jsonl_atomically(
                    folder / SAMPLES,
                    (
                        EvalSample(
                            f"p{number}",
                            subset(number),
                            prompt(number),
                            Response(f"p{number}", text(arm, seed, number), 10, finished=True),
                            metrics,
                        ).to_json()
                        for number in range(prompts)
                    ),
                )
        return run_dir

    return make


def words(arm: str, seed: int, number: int) -> str:
    """Macro is longest on even prompts, token else; SFT is shortest: the length judge's verdicts are known."""
    lengths = {"sft": 2, "token_ppo": 4, "macro_ppo-fixed_n5": 6 if number % 2 == 0 else 3}
    return f" {arm[0]}{seed}n{number} " + "word " * lengths[arm]


@pytest.fixture
def run_dir(make_run):
    """Six prompts: by length macro wins all against SFT and half against token PPO."""
    return make_run(text=words)


@pytest.fixture
def judge_it(server, clock):
    """Judges a run by the local server; returns what came of it."""
    from marl_bench.judge_runs import Server, judge_runs
    from marl_bench.judging.asking import Patience
    from marl_bench.judging.job import JobLimits
    from marl_bench.judging.plan import JudgeOptions, plan_judging
    from marl_bench.plugins import Registry

    def judge(run_dir, *, limits=None, patience=None, timeout=10.0, on_wait=lambda *_: None, **options):
        asked = JudgeOptions(**{"judge": "openai:judge-1", "own_server": True, **options})
        plan = plan_judging([run_dir], asked, Registry())
        return judge_runs(
            plan,
            Server(server.url, timeout_seconds=timeout, patience=patience or Patience(), clock=clock),
            limits or JobLimits(concurrency=4),
            on_wait=on_wait,
        )

    return judge


@pytest.fixture
def stored_pairs():
    """Returns a function that reads the pairs of a judgement back."""
    from marl_bench.judgements import read_pairs

    return lambda judged: list(read_pairs(judged.folders[0]))

"""Synthetic cells: small enough to compute every expected number by hand."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from marl_bench.records import Cell, EvalSample, Response, RunRecord
from marl_bench.run_dir import (
    CURVE,
    RECORD,
    SAMPLES,
    RunDir,
    append_jsonl,
    write_json_atomically,
    write_text_atomically,
)

ARMS: Mapping[str, Mapping[str, Any]] = {
    "sft": {"label": "sft", "baseline": "sft", "rule": None, "trained": False, "role": "start", "isolates": ""},
    "token_ppo": {
        "label": "token_ppo",
        "baseline": "token_ppo",
        "rule": None,
        "trained": True,
        "role": "token",
        "isolates": "",
    },
    "token_ppo_matched_lambda-n5": {
        "label": "token_ppo_matched_lambda:n=5",
        "baseline": "token_ppo_matched_lambda",
        "rule": "fixed(n=5)",
        "trained": True,
        "role": "control",
        "isolates": "Token PPO whose lambda gives the credit horizon of five-token macro actions.",
    },
    "macro_ppo-fixed_n5": {
        "label": "macro_ppo:fixed(n=5)",
        "baseline": "macro_ppo",
        "rule": "fixed(n=5)",
        "trained": True,
        "role": "macro",
        "isolates": "",
    },
}

CellFactory = Callable[..., Cell]


def _samples(values: Mapping[str, Sequence[float | None]]) -> list[EvalSample]:
    count = len(next(iter(values.values())))
    return [
        EvalSample(
            prompt_id=f"p{index}",
            subset="",
            prompt=f"prompt {index}",
            response=Response(f"p{index}", f"response {index}", token_count=100, finished=True),
            metrics={name: column[index] for name, column in values.items()},
        )
        for index in range(count)
    ]


def _cell(
    arm: str,
    seed: int,
    values: Mapping[str, Sequence[float | None]],
    *,
    curve: Sequence[Mapping[str, Any]] = (),
    **changes: Any,
) -> Cell:
    """Returns a complete cell whose per-sample metrics are the columns of `values`."""
    scored = {name: [value for value in column if value is not None] for name, column in values.items()}
    record = RunRecord(
        experiment="tldr-tiny-0123abcd",
        status="complete",
        task={"id": "tldr", "version": 1, "primary_metric": "reward_model_score", "has_oracle": "oracle" in values},
        arm={"name": arm, **ARMS[arm]},
        seed=seed,
        config_hash="c0ffee" + "0" * 58,
        digests={"data": "d" * 64, "sft": "5" * 64, "reward_model": "e" * 64},
        shared={
            "data": {"counts": {"read": 40, "dropped_too_long": 2}, "notes": ["Posts are synthetic."]},
            "sft": {"loss": 1.25, "seconds": 61.5},
            "reward_model": {"pair_accuracy": 0.75, "pairs": 100, "score_std": 2.0},
        },
        budget={
            "updates": 4,
            "prompts": 8,
            "responses_sampled": 32,
            "tokens_sampled": 3200,
            "max_response_tokens": 100,
        }
        if ARMS[arm]["trained"]
        else {},
        metrics={name: sum(column) / len(column) for name, column in scored.items() if column},
        higher_is_better={"reward_model_score": True, "oracle": True, "kl": None, "finished": None},
        unscored={name: sum(value is None for value in column) for name, column in values.items()},
        costs={"seconds": {"rollout": 1.5, "total": 4.0 + seed}, "seconds_per_update": 0.5, "peak_memory_mib": 900.0},
        environment={"python": "3.12", "device": "cpu", "packages": {"torch": "2.9"}},
    )
    return Cell(dataclasses.replace(record, **changes), list(curve), _samples(values))


def _curve(scores: Sequence[float], *, oracle: Sequence[float] | None = None, length: int = 1) -> list[dict[str, Any]]:
    """Returns a learning curve with 800 tokens sampled an update and a KL that grows by 1."""
    lines: list[dict[str, Any]] = []
    for update, score in enumerate(scores, start=1):
        line = {
            "update": update,
            "score": score,
            "kl": float(update),
            "tokens_sampled": 800 * update,
            "explained_variance": 0.1 * update,
            "advantage_snr": 0.5,
            "first_macro_credit": 0.25,
            "macro_length_mean": float(length),
            "macro_length_histogram": {str(length): 19, "1": 1} if length > 1 else {"1": 20},
        }
        lines.append(line if oracle is None else line | {"oracle": oracle[update - 1]})
    return lines


@pytest.fixture
def make_cell() -> CellFactory:
    return _cell


@pytest.fixture
def make_curve() -> Callable[..., list[dict[str, Any]]]:
    return _curve


@pytest.fixture
def three_arms() -> list[Cell]:
    """SFT, token PPO, its control and macro PPO, two seeds, four prompts.

    Score per prompt, seed 0 / seed 1: sft 0 0 0 0 / 0 0 0 0; token 1 1 1 1 / 1 1 1 1; control 2 2 2 2 / 2 2 2 2;
    macro 2 3 1 2 / 3 4 2 3.
    """
    kl = {"kl": [2.0] * 4, "finished": [1.0, 1.0, 1.0, 0.0], "response_tokens": [100.0] * 4}
    none = kl | {"kl": [0.0] * 4}
    rising, faster = [0.0, 1.0, 2.0, 3.0], [2.0, 3.0, 3.5, 4.0]
    cells = []
    for seed in (0, 1):
        macro = [2.0 + seed, 3.0 + seed, 1.0 + seed, 2.0 + seed]
        cells += [
            _cell("sft", seed, {"reward_model_score": [0.0] * 4, "oracle": [0.5] * 4} | none),
            _cell(
                "token_ppo",
                seed,
                {"reward_model_score": [1.0] * 4, "oracle": [1.0] * 4} | kl,
                curve=_curve(rising, oracle=rising),
            ),
            _cell(
                "token_ppo_matched_lambda-n5",
                seed,
                {"reward_model_score": [2.0] * 4, "oracle": [1.5, 1.5, 1.0, 1.5]} | kl,
                curve=_curve(faster, oracle=faster),
            ),
            _cell(
                "macro_ppo-fixed_n5",
                seed,
                {"reward_model_score": macro, "oracle": [1.5, 1.0, 0.5, 1.5]} | kl,
                curve=_curve(faster, oracle=faster, length=5),
            ),
        ]
    return cells


@pytest.fixture
def write_cells() -> Callable[[Path, Sequence[Cell]], RunDir]:
    """Returns a function that lays cells out on disk as a run does."""

    def write(root: Path, cells: Sequence[Cell]) -> RunDir:
        run_dir = RunDir(root)
        write_text_atomically(run_dir.config, "config_hash: c0ffee\n")
        for cell in cells:
            folder = run_dir.cell(cell.record.arm["name"], cell.record.seed)
            write_json_atomically(folder / RECORD, cell.record.to_json())
            for line in cell.curve:
                append_jsonl(folder / CURVE, line)
            for sample in cell.samples:
                append_jsonl(folder / SAMPLES, sample.to_json())
        return run_dir

    return write

"""Macro actions of evaluated responses: where they begin, what they are worth, and what happens when they cannot be had."""

import dataclasses
import errno
import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from marl_bench.batches import Segmentation
from marl_bench.config import PpoConfig, SamplingConfig
from marl_bench.finished_run import open_run
from marl_bench.interfaces import PolicyContext
from marl_bench.macro_traces import MACRO_ACTIONS, MacroTrace
from marl_bench.models.actors import load_actors
from marl_bench.models.loading import model_folder
from marl_bench.models.responses import stored_responses
from marl_bench.planning import build_rule, plan_rule
from marl_bench.records import EvalSample, Response
from marl_bench.reevaluation import evaluate_again, plan_evaluation, trace_again
from marl_bench.run_dir import RunDir, read_cells, read_jsonl
from marl_bench.training import traces
from marl_bench.training.traces import Tracing, macro_traces, write_macro_traces

TEXTS = (" A dog runs home.", " Two cats.", " Ein Hund läuft – nach Hause.")


@pytest.fixture(scope="module")
def actors():
    folder = Path(model_folder("tiny"))
    return load_actors(
        policy=folder, sft=folder, reward_model=None, dtype="float32", critic_scale=1.0, device=torch.device("cpu")
    )


@pytest.fixture
def tracing(actors, registry):
    def make(rule, **ppo):
        settings = PpoConfig(score_batch_size=4, kl_coef=0.1, **ppo)
        built = build_rule(plan_rule(rule, registry), registry)
        baseline = registry.baseline("macro_ppo").build(PolicyContext(settings, built, built.nominal_length))
        return Tracing(baseline, actors, SamplingConfig(), settings.kl_coef, 4.0, "score")

    return make


def samples_of(actors, *, scores=(2.0, -1.0, 3.0), finished=(True, True, False)):
    rows = zip(TEXTS, scores, finished, strict=True)
    samples = [
        EvalSample(f"p{row}", "", "POST: dogs. TL;DR:", Response(f"p{row}", text, 0, end), {"score": score})
        for row, (text, score, end) in enumerate(rows)
    ]
    return samples, stored_responses(
        actors.policy, actors.tokenizer, samples, temperature=1.0, batch_size=4, seed_parts=(0, "evaluation")
    )


def test_pieces_between_the_starts_are_the_text_and_tokens_are_counted(actors, tracing):
    samples, sampled = samples_of(actors)
    for rule in ("token", "fixed(n=3)", "sentence"):
        for trace, response, sample in zip(
            macro_traces(tracing(rule), sampled, samples), sampled.samples.tokens.response_mask, samples, strict=True
        ):
            text = sample.response.text
            ends = [*trace.starts[1:], len(text)]
            assert "".join(text[a:b] for a, b in zip(trace.starts, ends, strict=True)) == text
            assert trace.starts[0] == 0
            assert sum(trace.tokens) == int(response.sum())
            assert len(trace.starts) == len(trace.tokens) == len(trace.advantages)


def test_eos_of_its_own_begins_at_the_end_of_the_text(actors, tracing):
    samples, sampled = samples_of(actors)
    [first, _, cut] = macro_traces(tracing("token"), sampled, samples)
    assert first.starts[-1] == len(TEXTS[0])  # EOS
    assert cut.starts[-1] < len(TEXTS[2])  # no EOS: it was cut


def test_one_macro_action_is_worth_the_shaped_score(actors, tracing):
    """Policy and reference are the same, so the KL is 0; the critic's head is 0, so every value is.

    Scores 2, -1, 3 over a spread of 4 are 0.5, -0.25, 0.75; the cut response pays 1 for its missing EOS: -0.25.
    """
    samples, sampled = samples_of(actors)
    traces = macro_traces(tracing("whole", score_scale="reference_std", missing_eos_penalty=1.0), sampled, samples)
    assert [trace.advantages for trace in traces] == [[0.5], [-0.25], [-0.25]]


def test_advantages_are_those_before_whitening(actors, tracing):
    """With lambda 0 and values 0 only the macro action that ends the response has an advantage, the whole score."""
    samples, sampled = samples_of(actors)
    [trace, *_] = macro_traces(tracing("fixed(n=3)", gae_lambda=0.0), sampled, samples)
    assert trace.advantages[:-1] == [0.0] * (len(trace.tokens) - 1)
    assert trace.advantages[-1] == 2.0


def test_an_empty_macro_action_of_the_released_code_is_left_out(actors, tracing):
    samples, sampled = samples_of(actors)
    traces = macro_traces(tracing("token", method="official_code"), sampled, samples)
    assert all(set(trace.tokens) == {1} for trace in traces)


def test_an_unscored_response_and_an_arm_without_a_critic_have_no_advantages(actors, tracing):
    samples, sampled = samples_of(actors, scores=(2.0, None, 3.0))
    traces = macro_traces(tracing("fixed(n=3)"), sampled, samples)
    assert [trace.advantages is None for trace in traces] == [False, True, False]
    without = dataclasses.replace(tracing("fixed(n=3)"), actors=dataclasses.replace(actors, critic=None))
    assert all(trace.advantages is None for trace in macro_traces(without, sampled, samples))


def test_no_random_state_moves(actors, tracing, tmp_path):
    samples, sampled = samples_of(actors)
    before = torch.get_rng_state(), str(np.random.get_state()), random.getstate()
    assert write_macro_traces(tmp_path, tracing("randomized"), sampled, samples) == []
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (str(np.random.get_state()), random.getstate()) == before[1:]
    assert (tmp_path / MACRO_ACTIONS).exists()


def test_a_rule_that_fails_is_a_problem_and_no_file(actors, tracing, tmp_path):
    samples, sampled = samples_of(actors)
    good = tracing("fixed(n=3)")

    class Broken:
        ppo, needs = good.baseline.ppo, frozenset()

        def segment(self, rollout):
            ids = torch.zeros_like(rollout.tokens.response_ids)
            return Segmentation(ids, ids, ids.bool())

    [problem] = write_macro_traces(tmp_path, dataclasses.replace(good, baseline=Broken()), sampled, samples)
    assert problem.startswith("macro_actions.jsonl: the macro actions")
    assert "SegmentationError: segmentation, row" in problem


def test_a_full_disk_is_no_mere_problem_of_the_traces(actors, tracing, tmp_path, monkeypatch):
    def no_space(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    samples, sampled = samples_of(actors)
    monkeypatch.setattr(traces, "write_jsonl_atomically", no_space)
    with pytest.raises(OSError, match="No space left"):
        write_macro_traces(tmp_path, tracing("fixed(n=5)"), sampled, samples)
    assert not (tmp_path / MACRO_ACTIONS).exists()


def test_cells_of_a_run_leave_their_macro_actions(finished_run):
    for cell in read_cells(RunDir(finished_run)):
        name = cell.record.arm["name"]
        path = RunDir(finished_run).cell(name, cell.record.seed) / MACRO_ACTIONS
        traces = [MacroTrace.from_json(row) for row in read_jsonl(path)]
        assert [trace.prompt_id for trace in traces] == [sample.prompt_id for sample in cell.samples]
        assert [sum(trace.tokens) for trace in traces] == [sample.response.token_count for sample in cell.samples]
        longest = 1 if name.startswith("token") else 5
        assert max(max(trace.tokens) for trace in traces) == longest
        assert cell.record.problems == []


def test_an_evaluation_of_the_same_leaves_the_same_macro_actions(finished_run, registry):
    planned = plan_evaluation(finished_run, [], registry, name="traced")
    evaluate_again(planned, arms=[], done=lambda _now, _text: None)
    for path in planned.out.cells.glob(f"*/{MACRO_ACTIONS}"):
        assert path.read_text() == (finished_run / "cells" / path.parent.name / MACRO_ACTIONS).read_text()


def test_an_old_run_gets_its_macro_actions_afterwards(finished_run, registry, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(finished_run, old, ignore=shutil.ignore_patterns("evaluations", "diagnose"))
    kept = {path.parent.name: path.read_text() for path in old.glob(f"cells/*/{MACRO_ACTIONS}")}
    for name in kept:
        (old / "cells" / name / MACRO_ACTIONS).unlink()
    assert trace_again(open_run(old, registry), arms=[], done=lambda _now, _text: None) == []
    for name, text in kept.items():
        found = [json.loads(line) for line in (old / "cells" / name / MACRO_ACTIONS).read_text().splitlines()]
        rows = [json.loads(line) for line in text.splitlines()]
        alike = [(a, b) for a, b in zip(found, rows, strict=True) if a["tokens"] == b["tokens"]]
        assert len(alike) > len(rows) / 2  # a text may have several encodings
        for one, other in alike:
            assert one["starts"] == other["starts"]
            assert one["advantages"] == pytest.approx(other["advantages"], abs=1e-4)


def test_a_run_that_kept_no_critic_gets_cuts_without_advantages(finished_run, registry, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(
        finished_run, old, ignore=shutil.ignore_patterns("evaluations", "diagnose", "critic", MACRO_ACTIONS)
    )
    trace_again(open_run(old, registry), arms=["token_ppo"], done=lambda _now, _text: None)
    [path] = old.glob(f"cells/*/{MACRO_ACTIONS}")
    assert all(row["advantages"] is None and row["starts"] for row in read_jsonl(path))

"""Best-of-N and temperature sweeps of a finished run."""

import dataclasses
import shutil

import pytest
import torch

from marl_bench.cli.sweeps import best_of_n as best_of_n_verb
from marl_bench.cli.sweeps import sweep_temperature as sweep_verb
from marl_bench.errors import ConfigError, RecordError, UnknownNameError
from marl_bench.run_dir import RunDir, read_cells
from marl_bench.sampling_curves import read_curves
from marl_bench.sweeps.best_of_n import best_of_n, check_sizes
from marl_bench.sweeps.collect import Wanted, batches, collect
from marl_bench.sweeps.plan import SweepRequest, plan_sweep, policies_of
from marl_bench.sweeps.temperature import check_temperatures, sweep_temperature


@pytest.fixture(scope="module")
def run(finished_run, tmp_path_factory):
    """A copy that these tests may write into."""
    return shutil.copytree(finished_run, tmp_path_factory.mktemp("sweeps") / "run")


@pytest.fixture(scope="module")
def plan(run, registry):
    """All arms on four prompts."""
    return plan_sweep(SweepRequest(run, prompts=4), registry)


def only(plan, *labels, prompts=4, out=None):
    """Returns the plan for some arms and prompts, with its samples in a folder of its own where one is given."""
    policies = [policy for policy in plan.policies if policy.label in labels]
    chosen = dataclasses.replace(plan, policies=policies, prompts=plan.prompts[:prompts])
    return dataclasses.replace(chosen, out=RunDir(out)) if out else chosen


def planned(run, registry, **request):
    return plan_sweep(SweepRequest(run, **request), registry)


def silent(_ready, _text):
    pass


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*.jsonl"))}


def test_the_first_sample_is_the_one_that_the_run_evaluated(run, plan):
    plan = only(plan, "token_ppo", prompts=4)
    [found] = collect(plan, [Wanted(plan.policies[0], plan.config.sampling.temperature, 1)], silent)
    [cell] = [cell for cell in read_cells(RunDir(run)) if cell.record.arm["name"] == "token_ppo"]
    for before in cell.samples[:4]:
        [after] = found.samples[before.prompt_id]
        assert after.response == before.response
        assert {name: after.metrics[name] for name in before.metrics} == pytest.approx(dict(before.metrics), abs=1e-5)


def test_sft_is_among_the_arms_even_if_no_cell_is_called_so(run, plan):
    def labels(**request):
        return [policy.label for policy in policies_of(plan.evaluation, SweepRequest(run, **request))]

    assert labels() == ["sft", "token_ppo", "macro_ppo:fixed(n=5)"]
    assert labels(arms=["sft"]) == ["sft"]
    assert labels(arms=["token_ppo"], seeds=[0]) == ["token_ppo"]


def test_an_arm_that_only_chooses_among_responses_of_sft_is_left_out_and_named_if_asked_for(run, plan):
    evaluation = plan.evaluation
    cell = evaluation.run.cells[0]
    arm = {**cell.record.arm, "name": "best_of_n", "label": "best_of_n", "best_of": 4}
    chooser = dataclasses.replace(cell, record=dataclasses.replace(cell.record, arm=arm))
    finished = dataclasses.replace(evaluation.run, cells=[*evaluation.run.cells, chooser])
    evaluation = dataclasses.replace(evaluation, run=finished)
    assert [policy.label for policy in policies_of(evaluation, SweepRequest(run))] == [
        policy.label for policy in plan.policies
    ]
    with pytest.raises(ConfigError, match=r"--arm best_of_n: has no policy of its own.* take --arm sft"):
        policies_of(evaluation, SweepRequest(run, arms=["best_of_n"]))


def test_larger_n_gives_what_asking_for_it_at_once_gives_and_samples_the_rest_only(plan, tmp_path):
    one, two = (only(plan, "sft", "token_ppo", prompts=3, out=tmp_path / name) for name in "ab")
    best_of_n(one, [1, 2], done=silent)
    before = files(tmp_path / "a")
    assert best_of_n(one, [1, 2, 4], done=silent) == best_of_n(two, [1, 2, 4], done=silent)
    after = files(tmp_path / "a")
    assert all(after[name].startswith(content) for name, content in before.items())
    assert after == files(tmp_path / "b")


def test_nothing_is_loaded_or_sampled_twice(plan, monkeypatch):
    first = best_of_n(only(plan, "sft", prompts=2), [1, 2], done=silent)
    monkeypatch.setattr("marl_bench.sweeps.plan.load_actors", lambda **_: pytest.fail("models were loaded"))
    assert best_of_n(only(plan, "sft", prompts=2), [1, 2], done=silent) == first


def test_a_sweep_that_is_stopped_in_a_write_goes_on_to_the_same_bytes(plan, tmp_path):
    whole, stopped = (only(plan, "sft", "token_ppo", prompts=3, out=tmp_path / name) for name in ("whole", "stopped"))
    expected = best_of_n(whole, [1, 3], done=silent)

    def stop_at(limit):
        def done(ready, _text):
            if ready >= limit:
                raise KeyboardInterrupt

        return done

    for limit in (3, 12):  # in the first file, in the second
        with pytest.raises(KeyboardInterrupt):
            best_of_n(stopped, [1, 3], done=stop_at(limit))
        last = max(stopped.out.root.rglob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
        last.write_bytes(last.read_bytes()[:-25])  # a write that was not finished
    assert best_of_n(stopped, [1, 3], done=silent) == expected
    assert files(tmp_path / "stopped") == files(tmp_path / "whole")


def test_batches_do_not_change_when_more_samples_are_wanted():
    few, many = batches("abc", 1, size=2), batches("abc", 2, size=2)
    assert few == [[("a", 0)], [("b", 0), ("c", 0)]]
    assert many == [*few, [("a", 1)], [("b", 1), ("c", 1)]]


def test_best_of_n_raises_the_score_and_says_how_far_it_is_from_sft(plan):
    curves = best_of_n(only(plan, "sft", "token_ppo"), [1, 2, 4], done=silent)
    scores = {(point.label, point.x): point for point in curves.points if point.metric == curves.score}
    for label in ("sft", "token_ppo"):
        assert scores[label, 1].mean <= scores[label, 2].mean <= scores[label, 4].mean
    assert scores["sft", 1].kl == 0
    assert scores["sft", 4].kl == pytest.approx(1.386294 - 0.75, abs=1e-6)  # ln 4 - 3/4
    assert {found.reference for found in curves.differences if found.label == "token_ppo"} == {"sft", "token_ppo"}


def test_a_temperature_of_0_has_one_sample_and_sft_has_no_distance_at_its_own(plan):
    curves = sweep_temperature(only(plan, "sft", prompts=3), [0.0, 0.8, 1.2], 2, done=silent)
    found = {(point.x, point.metric): point for point in curves.points}
    assert {x: found[x, "response_tokens"].samples for x in (0.0, 0.8, 1.2)} == {0.0: 3, 0.8: 6, 1.2: 6}
    assert (0.0, "diversity") not in found
    assert 0 <= found[0.8, "diversity"].mean <= 1
    assert found[0.8, "response_tokens"].kl == 0
    assert found[0.0, "response_tokens"].kl > 0  # -log p of the likeliest tokens
    assert found[1.2, "response_tokens"].kl > 0


def test_each_arm_is_held_against_the_one_before_it_at_every_temperature(plan):
    arms = ("sft", "token_ppo", "macro_ppo:fixed(n=5)")
    curves = sweep_temperature(only(plan, *arms, prompts=2), [0.4, 0.8], 1, done=silent)
    pairs = {(found.label, found.reference, found.x) for found in curves.differences if found.label != found.reference}
    assert pairs == {(arms[1], arms[0], x) for x in (0.4, 0.8)} | {(arms[2], arms[1], x) for x in (0.4, 0.8)}


def test_greedy_kl_is_what_the_reference_gives_the_response(plan):
    plan = only(plan, "sft", prompts=1)
    [found] = collect(plan, [Wanted(plan.policies[0], 0.0, 1)], silent)
    [sample] = found.samples[plan.prompts[0].id]
    actors = plan.actors(plan.policies[0])
    ids = actors.tokenizer(sample.response.text, add_special_tokens=False)["input_ids"]
    if sample.response.finished:
        ids.append(actors.tokenizer.eos_token_id)
    assert len(ids) == sample.response.token_count
    prompt = actors.tokenizer(plan.prompts[0].text)["input_ids"]
    with torch.no_grad():
        logits = actors.reference(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
    log_probs = torch.log_softmax(logits / plan.reference_temperature, dim=-1)
    expected = -log_probs[torch.arange(len(ids)), torch.tensor(ids)].sum()
    assert sample.metrics["kl"] == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize(
    ("sizes", "temperature", "message"),
    [([0, 2], 1.0, "--n 0,2: should be whole numbers"), ([], 1.0, "--n"), ([2], 0.0, "greedy samples are all alike")],
)
def test_wrong_sizes_are_refused(sizes, temperature, message):
    with pytest.raises(ConfigError, match=message):
        check_sizes(sizes, temperature=temperature)


@pytest.mark.parametrize("wrong", [[-0.5], [0.5, float("nan")], [float("inf")], [80.0], []])
def test_wrong_temperatures_are_refused(wrong):
    with pytest.raises(ConfigError, match="should be numbers above 0 and up to 10, or 0 for greedy"):
        check_temperatures(wrong)


def test_wrong_arms_seeds_settings_and_runs_are_refused(run, registry, plan, tmp_path):
    with pytest.raises(ConfigError, match=r"evaluation\.max_prompts: is not used here; use --prompts"):
        planned(run, registry, overrides=[("evaluation.max_prompts", 4)])
    with pytest.raises(UnknownNameError, match="unknown arm"):
        policies_of(plan.evaluation, SweepRequest(run, arms=["dpo"]))
    with pytest.raises(ConfigError, match="--seeds 7: seed 7 has no complete cell; there are 0"):
        policies_of(plan.evaluation, SweepRequest(run, seeds=[7]))
    with pytest.raises(ConfigError, match="belongs to the training"):
        planned(run, registry, overrides=[("ppo.kl_coef", 1.0)])
    with pytest.raises(RecordError, match="no experiment there"):
        planned(tmp_path, registry)
    with pytest.raises(ConfigError, match="--n 1,two: should be whole numbers with commas"):
        best_of_n_verb(run, n="1,two")
    with pytest.raises(ConfigError, match=r"evaluation\.temperature: is not used here; give --temperatures"):
        sweep_verb(run, set_=["evaluation.temperature=1"])


def test_a_policy_that_is_not_there_any_more_is_no_sft(run, plan, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(next((copy / "cells").glob("token_ppo-*")) / "policy")
    moved = dataclasses.replace(plan.evaluation.run, run_dir=RunDir(copy))
    with pytest.raises(RecordError, match="the policy of token_ppo, seed 0, is not there any more; take other arms"):
        policies_of(dataclasses.replace(plan.evaluation, run=moved), SweepRequest(copy))


def test_the_verbs_print_and_write_what_they_find(run, capsys):
    best_of_n_verb(run, n="1,2", prompts=2, quiet=True)
    sweep_verb(run, temperatures="0,0.8", samples=2, prompts=2, quiet=True)
    out = capsys.readouterr().out
    assert "arm: token_ppo | N: 2" in out
    assert "Temperature sweep | arm: sft | T: 0 |" in out
    assert read_curves(run / "best_of_n.json").samples_per_prompt == 2
    assert (run / "temperature_sweep.md").read_text().startswith("# Temperature sweep\n")

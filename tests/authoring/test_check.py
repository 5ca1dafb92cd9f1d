"""The contract of a task: the shipped tasks keep it, and each way of breaking it is named."""

import contextlib
import dataclasses
import math
import socket
import sys

import pytest

from marl_bench.authoring.check import check_task
from marl_bench.authoring.opened_task import OpenedTask, open_task
from marl_bench.config_layers import resolve
from marl_bench.interfaces import TaskSpec
from marl_bench.metrics.per_sample import PerSample
from marl_bench.plugins import Registry
from marl_bench.records import PreferencePair, Prompt, SftPair, TaskData

SHIPPED = [plugin.id for plugin in Registry().list("marl_bench.tasks")]


def opened(task, *, overrides=(), **spec):
    """A task of the tests, opened as the command line would."""
    base = {
        "id": "own",
        "version": "1",
        "summary": "a task",
        "build": None,
        "reward_kind": "rule",
        "primary_metric": "s",
    }
    resolved = resolve(preset="tiny", overrides=list(overrides))
    return OpenedTask(TaskSpec(**base | spec), task, resolved.config, "tiny", _tokenizer())


def _tokenizer():
    from marl_bench.models.loading import load_tokenizer

    return load_tokenizer("tiny")


def prompts(*numbers, **changes):
    return [
        Prompt(f"p{number}", f"Say {number} in words:", reference=f"word {number} and more", **changes)
        for number in numbers
    ]


def overlap(prompt, response):
    wanted = (prompt.reference or "").split()
    return sum(one == other for one, other in zip(wanted, response.text.split(), strict=False)) / len(wanted)


class Good:
    """A task that keeps the contract."""

    metrics = (PerSample("overlap", overlap, higher_is_better=True),)

    def load(self, source, *, seed):
        sft = [SftPair(prompt, " yes indeed") for prompt in prompts(*range(6))]
        return TaskData(sft, [], prompts(*range(6, 12)), prompts(*range(12, 20)))

    def score(self, prompts, responses):
        return [overlap(prompt, response) for prompt, response in zip(prompts, responses, strict=True)]

    def oracle(self, prompts, responses):
        return None


def loads(**parts):
    """A task whose data have other parts."""

    class Changed(Good):
        def load(self, source, *, seed):
            return dataclasses.replace(super().load(source, seed=seed), **parts)

    return Changed()


def scores(function):
    """A task with another reward."""

    class Changed(Good):
        def score(self, prompts, responses):
            return function(prompts, responses)

    return Changed()


def measures(*metrics):
    """A task with other metrics."""

    class Changed(Good):
        pass

    changed = Changed()
    changed.metrics = metrics
    return changed


def broken(task, *, overrides=(), **spec):
    found = check_task(opened(task, overrides=overrides, **spec), samples=6)
    return {finding.clause: " | ".join(finding.problems) for finding in found if finding.problems}


@pytest.mark.parametrize("task", SHIPPED)
def test_shipped_tasks_keep_the_contract(task, registry):
    resolved = resolve(preset="tiny", layers=[("test", {"task": task})], task_settings=registry.task_settings)
    found = check_task(open_task(resolved, registry), samples=12)
    assert {one.clause: one.problems for one in found if one.problems} == {}


def test_a_good_task_keeps_the_contract():
    assert broken(Good()) == {}


class Random(Good):
    """Gives other data each time."""

    calls = 0

    def load(self, source, *, seed):
        Random.calls += 1
        return dataclasses.replace(super().load(source, seed=seed), rl_prompts=prompts(100 + Random.calls))


class Unpicklable(Good):
    """Holds something that cannot travel."""

    def __init__(self):
        self.function = lambda: None


class Network(Good):
    """Looks for a host while it scores."""

    def score(self, prompts, responses):
        with contextlib.suppress(Exception):  # a plugin that hides its failures
            socket.create_connection(("example.org", 80))
        return super().score(prompts, responses)


class Beside:
    """A metric that compares samples with one another."""

    names, higher_is_better = ("rank",), None

    def compute(self, prompts, responses):
        return {"rank": [float(len(responses))] * len(responses)}


LONG = "word " * 300


@pytest.mark.parametrize(
    ("task", "clause", "message"),
    [
        (loads(rl_prompts=prompts(12, 13)), "split", "2 prompts stand in rl and evaluation, such as 'p12'"),
        (loads(eval_prompts=prompts(12, 12)), "schema", "eval_prompts: 1 ids stand twice, such as 'p12'"),
        (loads(sft=prompts(1)), "load", "sft: 1 items are Prompt, should be SftPair"),
        (loads(sft=[SftPair(*prompts(1), " ")]), "schema", "its response is ' '; should be a text"),
        (loads(eval_prompts=prompts(12, cuttable=(3, 99))), "schema", "cuttable (3, 99) is no span"),
        (loads(eval_prompts=prompts(12, fields={"a": {1}})), "load", "prompt 'p12': fields are no plain data"),
        (loads(eval_prompts=prompts(12, messages=[{"text": "a"}])), "schema", "role and content"),
        (loads(eval_prompts=prompts(12, subset=None)), "load", "prompt 'p12': subset is None; should be a text"),
        (loads(counts={"rows": "3"}), "load", "counts['rows'] is '3'; should be a whole number"),
        (
            loads(eval_prompts=[Prompt("p", "One:"), Prompt("p", "Two:")]),
            "load",
            "two evaluation prompts have the id 'p'",
        ),
        (loads(eval_prompts=prompts(12, messages=[{"role": "user", "content": None}])), "schema", "content as texts"),
        (loads(eval_prompts=prompts(12, cuttable=3)), "schema", "cuttable is 3; should be a span"),
        (loads(eval_prompts=[Prompt("p12", " ")]), "schema", "text is ' '; should be a text"),
        (
            loads(preferences=[PreferencePair(*prompts(30), " a", " a")]),
            "schema",
            "1 pairs have two equal responses, such as that of prompt 'p30'",
        ),
        (Random(), "determinism", "rl: loading again with the same seed gives other items"),
        (Unpicklable(), "picklable", "the task cannot be pickled"),
        (
            loads(rl_prompts=[Prompt("long", LONG, cuttable=(0, 1400))]),
            "prompts",
            "1 of 1 prompts are over sampling.max_p",
        ),
        (
            loads(sft=[SftPair(*prompts(1), LONG)]),
            "responses",
            "1 of 1 responses are over sampling.max_response_tokens",
        ),
        (scores(lambda _, responses: [1.5] * len(responses)), "reward", "is 1.5; should be finite, in [0.0, 1.0]"),
        (scores(lambda _, responses: [math.nan] * len(responses)), "reward", "is nan; should be finite"),
        (scores(lambda _, responses: [1.0]), "reward", "1 scores for"),
        (scores(lambda _, responses: [None] * len(responses)), "reward", "no response has a score"),
        (scores(lambda _, responses: 1 / 0), "reward", "ZeroDivisionError"),
        (
            scores(lambda _, responses: [0.5] * len(responses)),
            "gold",
            "score: tells no reference from a spoiled response",
        ),
        (measures(PerSample("kl", overlap)), "metrics", "metrics: kl stands twice"),
        (measures(PerSample("odd", lambda _, response: 1 / len(response.text))), "metrics", "ZeroDivisionError"),
        (measures(Beside()), "metrics", "metric 'rank': the value of a sample changes with the other prompts"),
        (
            measures(PerSample("brevity", lambda _, response: -float(len(response.text)), higher_is_better=True)),
            "gold",
            "metric 'brevity': references have -16 on average, empty 0",
        ),
        (Network(), "offline", "looks for the host 'example.org'"),
    ],
)
def test_each_way_of_breaking_the_contract_is_named(task, clause, message):
    found = broken(task, score_range=(0.0, 1.0))
    assert message in found[clause]


def test_a_spec_that_is_not_complete_is_named(tmp_path):
    assert "version is ''" in broken(Good(), version="")["spec"]
    assert "settings name the preset 'huge'" in broken(Good(), settings={"huge": {}})["spec"]
    assert "Did you mean 'ppo.updates'" in broken(Good(), settings={"tiny": {"ppo": {"update": 1}}})["spec"]
    assert "is no from_pretrained folder" in broken(Good(), base_model=tmp_path)["spec"]
    assert "no preference pairs" in broken(Good(), reward_kind="model")["spec"]
    assert "reward_kind is 'rules'; should be model or rule" in broken(Good(), reward_kind="rules")["spec"]


UNORDERED = """
from marl_bench.interfaces import TaskSpec
from marl_bench.records import Prompt, SftPair, TaskData


class Unordered:
    metrics = ()

    def load(self, source, *, seed):
        prompts = [Prompt(name, f"Say {name}:") for name in {"a", "b", "c", "d", "e", "f", "g", "h"}]
        return TaskData([SftPair(prompts[0], " a")], [], prompts[1:5], prompts[5:])

    def score(self, prompts, responses):
        return [0.5] * len(responses)

    def oracle(self, prompts, responses):
        return None


TASK = TaskSpec("unordered", "1", "a set", lambda options: Unordered(), reward_kind="rule", primary_metric="s")
"""


def test_data_that_depend_on_the_order_of_a_set_are_found(tmp_path):
    (tmp_path / "unordered.py").write_text(UNORDERED)
    registry = Registry([tmp_path / "unordered.py"])
    resolved = resolve(preset="tiny", layers=[("test", {"task": "unordered"})])
    found = {one.clause: one.problems for one in check_task(open_task(resolved, registry), samples=2)}
    assert "does something depend on the order of a set" in found["determinism"][0]


def test_a_task_that_ends_the_process_is_a_finding():
    assert "SystemExit" in broken(scores(lambda _, __: sys.exit(0)))["reward"]


def test_data_that_cannot_be_loaded_are_one_finding():
    [finding] = check_task(opened(loads(eval_prompts=[])), samples=4)
    assert (finding.clause, "no evaluation item is left" in finding.problems[0]) == ("load", True)


def test_what_cannot_be_looked_at_is_skipped_and_says_why():
    found = check_task(opened(loads(eval_prompts=[Prompt("a", "Say a:"), Prompt("b", "Say b:")])), samples=4)
    skipped = {one.clause: one.skipped for one in found if one.skipped}
    assert skipped == {
        "oracle": "the data have no known optimum",
        "gold": "no evaluation prompt has a reference",
    }

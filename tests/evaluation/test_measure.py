"""Metrics that break on some samples, on all, or break their contract; metrics named by text."""

import math

import pytest

from marl_bench.errors import ConfigError, DataError, UnknownNameError
from marl_bench.evaluation.measure import check_metric_names, measure, oracle_scores
from marl_bench.metric_sources import make_metrics
from marl_bench.metrics.per_sample import PerSample
from marl_bench.metrics.repetition import repeated_share
from marl_bench.records import Prompt, Response

PROMPTS = [Prompt(f"p{number}", "Q:", reference="a b") for number in range(3)]
RESPONSES = [Response(f"p{number}", text, 2, True) for number, text in enumerate(["a b", "", "a b c d"])]


class Fixed:
    """A metric that returns what it is told to."""

    higher_is_better = True

    def __init__(self, found, names=("fixed",)):
        self.found, self.names = found, names

    def compute(self, prompts, responses):
        return self.found


def test_a_sample_that_breaks_a_metric_has_no_value_and_is_named():
    words = PerSample("mean_word", lambda _, response: len(response.text) / len(response.text.split()))
    found = measure([words], PROMPTS, RESPONSES)
    # "a b" is 3 characters in 2 words, "a b c d" is 7 in 4; the empty one divides by 0
    assert found.columns["mean_word"] == [1.5, None, 1.75]
    assert found.problems == [
        "Metric mean_word: no value for 1 of 3 samples; the first: prompt 'p1', ZeroDivisionError: division by zero."
    ]


def test_a_value_that_is_not_finite_is_no_value():
    found = measure([Fixed({"fixed": [1.0, math.nan, 2.0]})], PROMPTS, RESPONSES)
    assert found.columns["fixed"] == [1.0, None, 2.0]
    assert "prompt 'p1', fixed is nan" in found.problems[0]


def test_a_sample_that_fails_under_two_names_is_counted_once():
    found = measure(
        [Fixed({"a": [1.0, math.nan, 2.0], "b": [math.inf, math.nan, 2.0]}, ("a", "b"))], PROMPTS, RESPONSES
    )
    assert "no value for 2 of 3 samples; the first: prompt 'p0', b is inf" in found.problems[0]


@pytest.mark.parametrize(
    ("values", "message"),
    [([1.0], "oracle: 1 values for 3 responses"), ([0.0, math.nan, 1.0], "response to prompt 'p1' is nan")],
)
def test_oracle_values_are_checked(values, message):
    class Known:
        def oracle(self, prompts, responses):
            return values

    with pytest.raises(DataError, match=message):
        oracle_scores(Known(), PROMPTS, RESPONSES)


def test_values_of_none_are_no_problem():
    found = measure([Fixed({"fixed": [None, 1, True]})], PROMPTS, RESPONSES)
    assert found.columns["fixed"] == [None, 1.0, 1.0]
    assert found.problems == []


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (PerSample("broken", lambda _, __: 1 / 0), "metric broken: fails on every sample"),
        (Fixed({"fixed": [1.0]}), "metric 'fixed': 1 values for 3 responses"),
        (Fixed({"fixed": {"p0": 1.0}}), "metric 'fixed': returned a dict"),
        (Fixed({"other": [1.0] * 3}), "metric 'fixed': is missing; the metric returned other"),
    ],
)
def test_a_metric_that_cannot_be_computed_at_all_stops_the_evaluation(metric, message):
    with pytest.raises(DataError, match=message):
        measure([metric], PROMPTS, RESPONSES)


def test_names_that_stand_twice_are_refused_before_any_work():
    with pytest.raises(ConfigError, match="kl, words stands twice"):
        check_metric_names([Fixed({}, ("words", "kl")), Fixed({}, ("words",))], taken=["score"])
    check_metric_names([Fixed({}, ("words",))], taken=["score"])


def test_repetition_is_the_share_of_four_grams_seen_before():
    # "a b c d a b c d": abcd bcda cdab dabc abcd -> 5 four-grams, 4 distinct
    assert repeated_share("a b c d a b c d") == pytest.approx(0.2)
    assert repeated_share("one two three") == 0.0
    assert repeated_share("") == 0.0


def test_metrics_are_named_by_plugin_callable_or_evaluate_folder(registry, tmp_path):
    (tmp_path / "own.py").write_text("def shout(prompt, response):\n    return float('!' in response.text)\n")
    folder = tmp_path / "exact"
    folder.mkdir()
    (folder / "exact.py").write_text(EXACT)
    made = make_metrics(["words", f"python:{tmp_path / 'own.py'}:shout", f"evaluate:{folder}:exact"], registry)
    found = measure(made, PROMPTS, RESPONSES)
    assert found.columns == {"words": [2.0, 0.0, 4.0], "shout": [0.0] * 3, "exact": [1.0, 0.0, 0.0]}


EXACT = """
import datasets
import evaluate


class Exact(evaluate.Metric):
    def _info(self):
        text = datasets.Value("string")
        features = datasets.Features({"predictions": text, "references": text})
        return evaluate.MetricInfo(description="share of exact matches", citation="", features=features)

    def _compute(self, predictions, references):
        return {"exact": sum(map(str.__eq__, predictions, references)) / len(predictions)}
"""


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("wordz", UnknownNameError, "unknown metric 'wordz'. Did you mean 'words'"),
        ("python:own.py", ConfigError, "--metric python:own.py: should be"),
        ("judge:a:b", ConfigError, "should be a metric's name"),
        ("python:nowhere.py:f", ConfigError, "--metric python:nowhere.py:f: there is no file"),
    ],
)
def test_a_metric_that_does_not_exist_is_one_clear_error(registry, text, error, message):
    with pytest.raises(error, match=message):
        make_metrics([text], registry)


def test_an_evaluate_metric_that_cannot_be_loaded_is_named(registry, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "broken.py").write_text("import no_such_module_here")
    [metric] = make_metrics([f"evaluate:{tmp_path / 'broken'}:value"], registry)
    with pytest.raises(DataError, match=r"--metric evaluate:.*broken: cannot be loaded"):
        measure([metric], PROMPTS, RESPONSES)

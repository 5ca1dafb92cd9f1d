"""Points and differences from samples whose numbers are known."""

import pytest

from marl_bench.records import EvalSample, Response
from marl_bench.sweeps.curves import Setting, difference_of, from_peak, points_of
from marl_bench.sweeps.plan import Policy


def policy(label="sft", role="start", seed=0):
    return Policy(label, label, role, seed, None, is_reference=role == "start")


def setting(x, *columns, label="sft", role="start", **changes):
    policies = [policy(label, role, seed) for seed in range(len(columns))]
    return Setting(policies, x, columns, samples=8, unscored={}, **changes)


def test_a_point_is_the_mean_over_prompts_of_the_mean_over_seeds():
    # Prompt a: (1 + 3) / 2 = 2; b: 4, the other seed has no value; mean 3. Seeds: (1 + 4) / 2 = 2.5 and 3.
    one = setting(1.0, {"score": {"a": 1.0, "b": 4.0}, "kl": {"a": 2.0, "b": 4.0}}, {"score": {"a": 3.0}}, kl_above=0.5)
    [point] = points_of([one], leading=["score"])
    assert (point.mean, point.by_seed, point.kl) == (3.0, [2.5, 3.0], 3.5)
    assert point.low <= 3.0 <= point.high


def test_points_stand_by_arm_then_metric_then_x():
    columns = {"words": {"a": 1.0}, "oracle": {"a": 1.0}, "score": {"a": 1.0}}
    settings = [setting(2.0, columns), setting(1.0, columns), setting(1.0, columns, label="ppo", role="token")]
    found = [(point.label, point.metric, point.x) for point in points_of(settings, leading=["score", "oracle"])]
    assert found == [
        *[("sft", metric, x) for metric in ("score", "oracle", "words") for x in (1.0, 2.0)],
        *[("ppo", metric, 1.0) for metric in ("score", "oracle", "words")],
    ]


def test_differences_are_paired_on_the_prompts_that_both_have():
    first = setting(2.0, {"score": {"a": 1.0, "b": 5.0, "c": 9.0}})
    second = setting(1.0, {"score": {"a": 0.0, "b": 2.0}})
    assert difference_of(first, second, "score").delta == pytest.approx(2.0)  # (1 + 3) / 2
    assert difference_of(first, setting(1.0, {"score": {"z": 0.0}}), "score") is None


def test_the_peak_is_told_at_a_level_for_all_that_it_was_picked_from():
    rows = [
        setting(float(x), {"oracle": {"a": top, "b": top + 1}, "score": {"a": x, "b": x}})
        for x, top in enumerate((0.0, 5.0, 3.0), 1)
    ]
    found = from_peak(rows, "oracle", rows[-1], also=["score"])
    # Two others than the last: 1 - .05 / 2
    assert [(one.reference_x, one.metric, one.delta, one.level) for one in found] == [
        (2.0, "oracle", -2.0, 0.975),
        (2.0, "score", 1.0, 0.975),
    ]
    assert from_peak(rows, "score", rows[-1], also=[]) == []


def sample(prompt, index, **metrics):
    return EvalSample(prompt, "", "", Response(prompt, "", 1, True, index), metrics)


def test_the_best_of_two_is_chosen_by_score_for_every_metric():
    from marl_bench.sweeps.best_of_n import _chosen

    rows = [
        sample("a", 0, score=1.0, oracle=0.0),
        sample("a", 1, score=2.0, oracle=3.0),
        sample("a", 2, score=None, oracle=9.0),
    ]
    # Pairs: (0, 1) -> 1; (0, 2) -> 0; (1, 2) -> 1. Score (2 + 1 + 2) / 3, oracle (3 + 0 + 3) / 3.
    columns = _chosen({"a": rows}, "score", 2)
    assert columns["score"]["a"] == pytest.approx(5 / 3)
    assert columns["oracle"]["a"] == pytest.approx(2)

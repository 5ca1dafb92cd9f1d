"""The comparison's numbers, computed by hand from the cells of `conftest`."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from marl_bench.errors import RecordError
from marl_bench.judgements import JUDGEMENT, JUDGEMENTS, PAIRS, JudgedPair, Judgement, Verdict
from marl_bench.records import Cell
from marl_bench.reporting.compare import compare
from marl_bench.reporting.comparison import Comparison, Difference
from marl_bench.reporting.judged import with_judgements
from marl_bench.run_dir import RunDir, append_jsonl, write_json_atomically

SCORE = "reward_model_score"
MACRO, TOKEN, SFT, CONTROL = "macro_ppo-fixed_n5", "token_ppo", "sft", "token_ppo_matched_lambda-n5"
T_1 = 12.706205  # Student t, .975, one degree of freedom


def _difference(comparison: Comparison, arm: str, reference: str, metric: str = SCORE) -> Difference:
    pairs = [*comparison.differences, *comparison.against_controls]
    (found,) = (d for d in pairs if (d.arm.name, d.reference.name, d.metric) == (arm, reference, metric))
    return found


def _changed(cell: Cell, **changes: Any) -> Cell:
    return dataclasses.replace(cell, record=dataclasses.replace(cell.record, **changes))


def test_arms_stand_in_the_order_of_their_roles(three_arms: list[Cell]) -> None:
    found = compare(list(reversed(three_arms)))
    assert [summary.arm.name for summary in found.arms] == [SFT, TOKEN, CONTROL, MACRO]
    assert found.start is not None and found.token is not None
    assert (found.start.name, found.token.name, found.seeds) == (SFT, TOKEN, [0, 1])


def test_shorter_macro_actions_stand_before_longer_ones(make_cell: Callable[..., Cell]) -> None:
    """By number, not by letter: 2, 5, 10, then the whole response."""
    plain = make_cell(MACRO, 0, {SCORE: [1.0, 2.0]})
    names = ["macro_ppo-fixed_n10", "macro_ppo-whole", "macro_ppo-fixed_n2", "macro_ppo-fixed_n5"]
    found = compare([_changed(plain, arm={**plain.record.arm, "name": name}) for name in names])
    assert [one.arm.name.removeprefix("macro_ppo-") for one in found.arms] == [
        "fixed_n2",
        "fixed_n5",
        "fixed_n10",
        "whole",
    ]


def test_mean_and_seed_interval_of_an_arm(three_arms: list[Cell]) -> None:
    # Macro: seed 0 (2 + 3 + 1 + 2)/4 = 2, seed 1 = 3; mean 2.5, s = sqrt(.5), half = t * sqrt(.5)/sqrt(2) = t / 2.
    summary = compare(three_arms).arms[3].metrics[SCORE]
    assert summary.by_seed == {0: 2.0, 1: 3.0}
    assert summary.mean == 2.5
    assert summary.over_seeds is not None
    assert summary.over_seeds.half_width == pytest.approx(T_1 / 2, abs=1e-5)
    assert summary.over_prompts is not None
    # Prompts' means over seeds are 2.5, 3.5, 1.5, 2.5: s² = 2/3, error sqrt(2/3)/2, and t(.975, 3) = 3.182446 over so few prompts.
    assert summary.over_prompts.half_width == pytest.approx(3.182446 * math.sqrt(2 / 3) / 2, abs=1e-6)


def test_difference_against_the_token_arm(three_arms: list[Cell]) -> None:
    # Macro minus token: seed 0: 1 2 0 1, seed 1: 2 3 1 2; prompts' means 1.5 2.5 .5 1.5; seeds' means 1 and 2.
    found = _difference(compare(three_arms), MACRO, TOKEN)
    assert found.delta == 1.5
    assert (found.over_prompts.higher, found.over_prompts.equal, found.over_prompts.lower) == (4, 0, 0)
    assert found.over_prompts.p_value == pytest.approx(2 / 16)
    assert found.over_seeds is not None
    assert (found.over_seeds.low, found.over_seeds.high) == pytest.approx((1.5 - T_1 / 2, 1.5 + T_1 / 2), abs=1e-5)
    assert found.reference_deviation == 2.0
    assert found.prompts_left_out == 0


def test_differences_against_sft_and_controls(three_arms: list[Cell]) -> None:
    found = compare(three_arms)
    assert _difference(found, MACRO, SFT).delta == 2.5
    assert _difference(found, TOKEN, SFT).delta == 1.0
    assert _difference(found, CONTROL, TOKEN).delta == 1.0
    # Macro minus control: prompts' means over seeds .5 1.5 -.5 .5.
    left = _difference(found, MACRO, CONTROL)
    assert left.delta == 0.5
    assert (left.over_prompts.higher, left.over_prompts.lower) == (3, 1)
    assert _difference(found, MACRO, CONTROL, "oracle").delta == pytest.approx(-0.25)


@pytest.mark.parametrize("other", [{"rule": "fixed(n=10)"}, {"options": {"gae_lambda": 0.9}}])
def test_a_control_is_held_only_against_the_arm_it_is_matched_to(three_arms: list[Cell], other: dict) -> None:
    cells = [
        _changed(cell, arm={**cell.record.arm, **other}) if cell.record.arm["role"] == "control" else cell
        for cell in three_arms
    ]
    assert compare(cells).against_controls == []


def test_a_control_without_a_rule_is_held_against_every_macro_arm(three_arms: list[Cell]) -> None:
    cells = [
        _changed(cell, arm={**cell.record.arm, "rule": None}) if cell.record.arm["role"] == "control" else cell
        for cell in three_arms
    ]
    assert compare(cells).against_controls


@pytest.mark.parametrize(("without_effect", "pairs"), [([], 0), (["value_pooling"], 2)])
def test_options_without_effect_in_a_control_do_not_part_it_from_its_arm(
    three_arms: list[Cell], without_effect: list[str], pairs: int
) -> None:
    cells = [
        _changed(cell, arm={**cell.record.arm, "rule": None, "without_effect": without_effect})
        if cell.record.arm["role"] == "control"
        else _changed(cell, arm={**cell.record.arm, "options": {"value_pooling": "first"}})
        if cell.record.arm["role"] == "macro"
        else cell
        for cell in three_arms
    ]
    assert len(compare(cells).against_controls) == pairs


def test_win_rate_by_the_oracle_counts_ties_as_half(three_arms: list[Cell]) -> None:
    # Macro against token by oracle, each seed: 1.5 > 1, 1 = 1, .5 < 1, 1.5 > 1: 2 wins, 1 tie, 1 loss = 2.5/4.
    # Both seeds agree, so 4 effective pairs, a few more for the tie. Prompts' sums 2, 1, 0, 2 of 2 each and one pseudo prompt of 1 in 2:
    # p' = 6/10, residuals .8, -.2, -1.2, .8 over 1 - 2/10, squares 4.3125, the pseudo prompt's (.6² + .4²)/2 * 2.5² = 1.625, variance
    # 4/5 * 5.9375 / 10² = .0475, so .6 * .4 / .0475 = 5.0526 trials.
    (found,) = (w for w in compare(three_arms).win_rates if (w.arm.name, w.reference.name) == (MACRO, TOKEN))
    assert (found.wins, found.ties, found.losses, found.prompts) == (4, 2, 2, 4)
    assert found.rate.estimate == 0.625
    n, p, z = 0.24 / 0.0475, 0.625, 1.959964
    half = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    assert found.rate.half_width == pytest.approx(half, abs=1e-6)


def test_updates_to_parity_and_speed_up(three_arms: list[Cell]) -> None:
    # Four updates: no smoothing. Token 0 1 2 3 ends at 3 (update 4); macro 2 3 3.5 4 reaches 3 at update 2.
    found = {parity.arm.name: parity for parity in compare(three_arms).parities}
    assert set(found) == {TOKEN, CONTROL, MACRO}
    macro = found[MACRO]
    assert (macro.window, macro.updates, macro.token_updates) == (1, {0: 2, 1: 2}, {0: 4, 1: 4})
    assert macro.tokens == {0: 1600, 1: 1600}
    assert macro.speed_up == pytest.approx(2.0)
    assert macro.speed_up_over_seeds is not None
    assert macro.speed_up_over_seeds.half_width == pytest.approx(0.0, abs=1e-12)
    assert found[TOKEN].speed_up == pytest.approx(1.0)


def test_speed_up_is_the_geometric_mean_over_seeds(
    make_cell: Callable[..., Cell], make_curve: Callable[..., list[dict[str, Any]]]
) -> None:
    # Token reaches its end at update 4; macro at update 1 and 4: sqrt(4 * 1) = 2.
    cells = []
    for seed, scores in ((0, [3.0, 3.0, 3.0, 3.0]), (1, [0.0, 0.0, 0.0, 3.0])):
        cells.append(make_cell(TOKEN, seed, {SCORE: [1.0, 1.0]}, curve=make_curve([0.0, 1.0, 2.0, 3.0])))
        cells.append(make_cell(MACRO, seed, {SCORE: [1.0, 1.0]}, curve=make_curve(scores)))
    (macro,) = (parity for parity in compare(cells).parities if parity.arm.name == MACRO)
    assert macro.updates == {0: 1, 1: 4}
    assert macro.speed_up == pytest.approx(2.0)


def test_no_speed_up_unless_every_seed_reaches_parity(
    make_cell: Callable[..., Cell], make_curve: Callable[..., list[dict[str, Any]]]
) -> None:
    cells = []
    for seed, scores in ((0, [3.0] * 4), (1, [0.0] * 4)):
        cells.append(make_cell(TOKEN, seed, {SCORE: [1.0, 1.0]}, curve=make_curve([0.0, 1.0, 2.0, 3.0])))
        cells.append(make_cell(MACRO, seed, {SCORE: [1.0, 1.0]}, curve=make_curve(scores)))
    (macro,) = (parity for parity in compare(cells).parities if parity.arm.name == MACRO)
    assert (macro.reached, macro.updates, macro.tokens) == (1, {0: 1, 1: None}, {0: 800, 1: None})
    assert macro.speed_up is None


def test_one_seed_has_no_seed_intervals(three_arms: list[Cell]) -> None:
    found = compare([cell for cell in three_arms if cell.record.seed == 0])
    assert all(summary.over_seeds is None for arm in found.arms for summary in arm.metrics.values())
    assert all(difference.over_seeds is None for difference in found.differences)
    assert all(parity.speed_up_over_seeds is None for parity in found.parities)
    assert _difference(found, MACRO, TOKEN).over_prompts.interval is not None


def test_another_arm_moves_nobody_elses_interval(three_arms: list[Cell]) -> None:
    without_control = [cell for cell in three_arms if cell.record.arm["role"] != "control"]
    assert _difference(compare(three_arms), MACRO, TOKEN) == _difference(compare(without_control), MACRO, TOKEN)


def test_order_of_cells_does_not_matter(three_arms: list[Cell]) -> None:
    assert compare(list(reversed(three_arms))) == compare(three_arms)


def test_differences_use_only_prompts_scored_everywhere(make_cell: Callable[..., Cell]) -> None:
    cells = [
        make_cell(TOKEN, 0, {SCORE: [0.0, 0.0, None, 0.0]}),
        make_cell(MACRO, 0, {SCORE: [1.0, None, 5.0, 3.0]}),
    ]
    comparison = compare(cells)
    found = _difference(comparison, MACRO, TOKEN)
    assert (found.delta, found.over_prompts.prompts, found.prompts_left_out) == (2.0, 2, 2)
    assert [arm.unscored for arm in comparison.arms] == [{SCORE: 1}, {SCORE: 1}]


def test_differences_use_only_shared_seeds_and_say_so(three_arms: list[Cell]) -> None:
    cells = [cell for cell in three_arms if (cell.record.arm["name"], cell.record.seed) != (SFT, 1)]
    found = compare(cells)
    assert _difference(found, MACRO, SFT).seeds == [0]
    assert _difference(found, MACRO, SFT).delta == 2.0
    assert any("different seeds" in warning for warning in found.warnings)


def test_higher_is_not_always_better(make_cell: Callable[..., Cell]) -> None:
    lower_is_better = {SCORE: True, "oracle": False}
    cells = [
        make_cell(TOKEN, 0, {SCORE: [1.0, 1.0], "oracle": [2.0, 2.0]}, higher_is_better=lower_is_better),
        make_cell(MACRO, 0, {SCORE: [1.0, 1.0], "oracle": [1.0, 1.0]}, higher_is_better=lower_is_better),
    ]
    assert compare(cells).win_rates[0].rate.estimate == 1.0


def test_missing_token_arm_leaves_the_rest(three_arms: list[Cell]) -> None:
    found = compare([cell for cell in three_arms if cell.record.arm["role"] != "token"])
    assert found.token is None
    assert found.parities == []
    assert {difference.reference.name for difference in found.differences} == {SFT}
    assert _difference(found, MACRO, CONTROL).delta == 0.5


def test_missing_oracle_leaves_no_win_rates(make_cell: Callable[..., Cell]) -> None:
    found = compare([make_cell(arm, 0, {SCORE: [1.0, 2.0]}) for arm in (SFT, TOKEN, MACRO)])
    assert not found.has_oracle
    assert found.win_rates == []
    assert {difference.metric for difference in found.differences} == {SCORE}


def test_open_cells_are_listed_and_do_not_count(three_arms: list[Cell], make_cell: Callable[..., Cell]) -> None:
    failed = make_cell(MACRO, 2, {SCORE: [9.0]}, status="failed", error="TrainingError: not finite\nat update 3")
    running = make_cell(TOKEN, 2, {SCORE: [9.0]}, status="running")
    found = compare([*three_arms, failed, running])
    assert [(cell.arm, cell.seed, cell.status, cell.reason) for cell in found.open_cells] == [
        (MACRO, 2, "failed", "TrainingError: not finite at update 3"),
        (TOKEN, 2, "running", "unfinished"),
    ]
    assert found.seeds == [0, 1]
    assert found.arms == compare(three_arms).arms


def test_nothing_complete_is_an_error(make_cell: Callable[..., Cell]) -> None:
    with pytest.raises(RecordError, match="none of 1 cells is complete"):
        compare([make_cell(TOKEN, 0, {SCORE: [1.0]}, status="running")])


def test_costs_and_budget_are_means_over_seeds(three_arms: list[Cell]) -> None:
    # seconds.total is 4 + seed: (4 + 5)/2.
    token = compare(three_arms).arms[1]
    assert token.costs == {
        "peak_memory_mib": 900.0,
        "seconds_per_update": 0.5,
        "seconds_rollout": 1.5,
        "seconds_total": 4.5,
    }
    assert token.budget["tokens_sampled"] == 3200.0
    assert compare(three_arms).arms[0].budget == {}


def test_diagnostics_come_from_the_last_update(three_arms: list[Cell]) -> None:
    macro = compare(three_arms).arms[3]
    assert macro.last_update["explained_variance"] == pytest.approx(0.4)
    assert macro.last_update["macro_length_mean"] == 5.0
    assert macro.macro_lengths == {1: 2, 5: 38}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"digests": {"data": "d" * 64, "sft": "6" * 64, "reward_model": "e" * 64}}, "sft digest"),
        ({"digests": {"data": "d" * 64, "sft": "5" * 64, "reward_model": "f" * 64}}, "reward_model digest"),
        ({"digests": {"data": "a" * 64, "sft": "5" * 64, "reward_model": "e" * 64}}, "data digest"),
        ({"budget": {"updates": 5, "responses_sampled": 32, "max_response_tokens": 100}}, "updates: 4"),
        ({"budget": {"updates": 4, "responses_sampled": 40, "max_response_tokens": 100}}, "responses_sampled: 32"),
        ({"budget": {"updates": 4, "responses_sampled": 32, "max_response_tokens": 90}}, "max_response_tokens: 100"),
        ({"task": {"id": "tldr", "version": 2, "primary_metric": SCORE, "has_oracle": True}}, "task version: 1"),
    ],
)
def test_unequal_budgets_are_refused_unless_forced(three_arms: list[Cell], changes: dict[str, Any], named: str) -> None:
    cells = [*three_arms[:-1], _changed(three_arms[-1], **changes)]
    with pytest.raises(RecordError, match=named) as refused:
        compare(cells)
    assert "--force" in str(refused.value)
    assert MACRO in str(refused.value)
    forced = compare(cells, force=True)
    assert [warning for warning in forced.warnings if named in warning and "forced" in warning]


def test_sft_is_exempt_from_the_budget(three_arms: list[Cell]) -> None:
    cells = [_changed(three_arms[0], budget={"updates": 99}), *three_arms[1:]]
    assert compare(cells).warnings == []


def test_tokens_sampled_may_differ(three_arms: list[Cell]) -> None:
    changed = _changed(three_arms[-1], budget={**three_arms[-1].record.budget, "tokens_sampled": 1})
    assert compare([*three_arms[:-1], changed]).warnings == []


def test_runs_of_two_tasks_are_refused_even_when_forced(three_arms: list[Cell]) -> None:
    other = _changed(three_arms[-1], task={**three_arms[-1].record.task, "id": "apps"})
    with pytest.raises(RecordError, match="different tasks"):
        compare([*three_arms[:-1], other], force=True)


def test_runs_of_one_task_that_were_scored_otherwise_are_not_called_two_tasks(three_arms: list[Cell]) -> None:
    other = _changed(three_arms[-1], task={**three_arms[-1].record.task, "primary_metric": "words"})
    with pytest.raises(RecordError, match=r"of one task but of different primary metrics \(.*words.*--reward-model"):
        compare([*three_arms[:-1], other], force=True)


def test_an_arm_and_seed_in_two_runs_is_refused(three_arms: list[Cell]) -> None:
    with pytest.raises(
        RecordError, match=r"with seed 0 stands in both tldr-tiny-0123abcd and other; .* marl-bench compare"
    ):
        compare([*three_arms, _changed(three_arms[0], experiment="other")])


def test_unknown_role_is_refused(three_arms: list[Cell]) -> None:
    wrong = _changed(three_arms[-1], arm={**three_arms[-1].record.arm, "role": "judge"})
    with pytest.raises(RecordError, match="role 'judge' is none of start, token, control, macro"):
        compare([*three_arms[:-1], wrong])


def test_an_arm_of_two_definitions_is_refused(three_arms: list[Cell]) -> None:
    wrong = _changed(three_arms[-1], arm={**three_arms[-1].record.arm, "rule": "fixed(n=6)"})
    with pytest.raises(RecordError, match="arm 'macro_ppo-fixed_n5' is defined in 2 ways"):
        compare([*three_arms[:-1], wrong])


def test_reward_models_of_different_spread_give_no_common_deviation(three_arms: list[Cell]) -> None:
    other = _changed(three_arms[-1], shared={"reward_model": {"score_std": 3.0}})
    found = compare([*three_arms[:-1], other])
    assert found.reference_deviation is None
    assert "different reference standard deviations" in found.warnings[0]


def test_rates_of_a_judge_stand_in_the_order_of_the_arms(
    tmp_path: Path, three_arms: list[Cell], write_cells: Callable[..., RunDir]
) -> None:
    """A sheet is shuffled, its rates are not: against SFT first, then against the token arm."""
    run = write_cells(tmp_path / "run", three_arms)
    folder = run.root / JUDGEMENTS / "labels-anna"
    write_json_atomically(folder / JUDGEMENT, Judgement("labels:anna", [], "standard", "single", 0).to_json())
    for arm, reference in ((MACRO, TOKEN), (MACRO, SFT), (TOKEN, SFT)):
        won = [Verdict("arm_first", "ok", "arm")]
        append_jsonl(folder / PAIRS, JudgedPair("p0", "", arm, reference, 0, 0, 5, 5, won).to_json())
    (judged,) = with_judgements(compare(three_arms), [run]).judged
    labels = {MACRO: "macro_ppo:fixed(n=5)", TOKEN: "token_ppo", SFT: "sft"}
    assert [(one.arm, one.reference) for one in judged.rates] == [
        (labels[arm], labels[reference]) for arm, reference in ((TOKEN, SFT), (MACRO, SFT), (MACRO, TOKEN))
    ]

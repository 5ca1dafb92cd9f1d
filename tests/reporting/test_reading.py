"""The sentences: each says what the intervals allow, and no more."""

from collections.abc import Callable, Sequence
from typing import Any

from marl_bench.records import Cell
from marl_bench.reporting.compare import compare
from marl_bench.reporting.reading import read

SCORE = "reward_model_score"
MACRO, TOKEN, SFT, CONTROL = "macro_ppo-fixed_n5", "token_ppo", "sft", "token_ppo_matched_lambda-n5"
CellFactory = Callable[..., Cell]


def _cells(make_cell: CellFactory, seeds: Sequence[int], **scores: Sequence[float]) -> list[Cell]:
    """Returns one cell an arm and seed; a seed moves all scores by a hundredth."""
    names = {"sft": SFT, "token": TOKEN, "control": CONTROL, "macro": MACRO}
    return [
        make_cell(names[arm], seed, {SCORE: [value + 0.01 * seed for value in values]})
        for seed in seeds
        for arm, values in scores.items()
    ]


def _text(cells: list[Cell]) -> str:
    return "\n".join(read(compare(cells)))


def test_a_difference_that_all_intervals_show_is_called_better(make_cell: CellFactory) -> None:
    cells = _cells(make_cell, [0, 1, 2], sft=[0.0] * 6, token=[1.0] * 6, macro=[2.0, 2.1, 1.9, 2.0, 2.2, 1.8])
    assert "macro_ppo:fixed(n=5) against token_ppo, reward-model score: better; +1.000" in _text(cells)


def test_a_difference_that_includes_zero_is_not_claimed(make_cell: CellFactory) -> None:
    cells = _cells(make_cell, [0, 1], sft=[0.0] * 4, token=[1.0] * 4, macro=[2.0, 0.0, 2.0, 0.1])
    text = _text(cells)
    assert "against token_ppo, reward-model score: no difference can be shown at this size" in text
    assert "against token_ppo, reward-model score: better" not in text


def test_prompts_alone_do_not_make_a_difference_between_methods(three_arms: list[Cell]) -> None:
    # Macro minus token is 1 in seed 0 and 2 in seed 1: over two seeds 1.5 ± 6.4.
    text = _text(three_arms)
    assert (
        "macro_ppo:fixed(n=5) against token_ppo, reward-model score: no difference can be shown at this size "
        "(better so far, but over 2 seeds 0 is not excluded); +1.500 (+0.750 reference standard deviations)" in text
    )


def test_one_seed_is_said_to_be_one_seed(make_cell: CellFactory) -> None:
    text = _text(_cells(make_cell, [0], sft=[0.0] * 4, token=[1.0] * 4, macro=[2.0, 2.1, 1.9, 2.0]))
    assert "One seed: there is no interval over seeds (–)." in text
    assert "better on these prompts with this one seed, another seed may say otherwise" in text


def test_two_seeds_are_said_to_be_few(three_arms: list[Cell]) -> None:
    # t(.975, 1) / sqrt(2) = 12.706 / 1.414 = 9.0.
    assert "With 2 seeds an interval over seeds reaches 9.0 standard deviations" in _text(three_arms)


def test_a_control_that_reaches_the_same_leaves_nothing_shown_for_granularity(make_cell: CellFactory) -> None:
    cells = _cells(
        make_cell,
        [0, 1, 2],
        sft=[0.0] * 4,
        token=[1.0] * 4,
        control=[2.0, 2.1, 1.9, 2.0],
        macro=[2.1, 2.0, 2.0, 1.9],
    )
    text = _text(cells)
    assert "Control: token_ppo_matched_lambda:n=5 against token_ppo, reward-model score: better" in text
    assert "Left after the control: macro_ppo:fixed(n=5) against token_ppo_matched_lambda:n=5" in text
    assert "The gain over token_ppo is not shown to be more than what this control reaches" in text


def test_a_loss_of_the_oracle_against_the_control_is_not_passed_over(make_cell: CellFactory) -> None:
    """The score says nothing, the oracle stands 1 below in every prompt and seed: both are read."""
    cells = [
        make_cell(arm, seed, {SCORE: [score + seed] * 4, "oracle": [oracle + 0.1 * seed * place for place in range(4)]})
        for seed in (0, 1, 2)
        for arm, score, oracle in ((TOKEN, 1.0, 2.0), (CONTROL, 2.0, 3.0), (MACRO, 2.0, 2.0))
    ]
    left = [line for line in read(compare(cells)) if line.startswith("Left after the control")]
    assert [", oracle: worse; -1.000" in line for line in left] == [False, True]


def test_a_rest_above_the_control_is_named(make_cell: CellFactory) -> None:
    cells = _cells(make_cell, [0, 1, 2], sft=[0.0] * 4, token=[1.0] * 4, control=[1.5] * 4, macro=[2.1, 2.0, 2.0, 1.9])
    assert "So the macro arm does something here that this control does not." in _text(cells)


def test_a_control_above_macro_ppo_leaves_nothing(make_cell: CellFactory) -> None:
    cells = _cells(make_cell, [0, 1, 2], sft=[0.0] * 4, token=[1.0] * 4, control=[3.0] * 4, macro=[2.1, 2.0, 2.0, 1.9])
    assert "nothing of the macro arm is left beyond it" in _text(cells)


def test_a_missing_control_is_said(make_cell: CellFactory) -> None:
    cells = _cells(make_cell, [0, 1], sft=[0.0] * 4, token=[1.0] * 4, macro=[2.0] * 4)
    assert "No matched control ran" in _text(cells)


def test_missing_arms_are_said(make_cell: CellFactory) -> None:
    text = _text(_cells(make_cell, [0], macro=[2.0] * 4))
    assert "No SFT arm ran" in text
    assert "No plain token-PPO arm is in the comparison" in text


def test_a_token_arm_that_did_not_learn_is_said(make_cell: CellFactory) -> None:
    text = _text(_cells(make_cell, [0], sft=[1.0] * 4, token=[1.0] * 4, macro=[2.0] * 4))
    assert "token_ppo shows no gain over sft" in text


def test_a_score_that_rises_without_the_oracle_is_called_over_optimised(make_cell: CellFactory) -> None:
    cells = [
        make_cell(SFT, 0, {SCORE: [0.0] * 4, "oracle": [1.0] * 4}),
        make_cell(TOKEN, 0, {SCORE: [1.0] * 4, "oracle": [2.0] * 4}),
        make_cell(CONTROL, 0, {SCORE: [1.0] * 4, "oracle": [1.5, 0.5, 1.0, 1.0]}),
        make_cell(MACRO, 0, {SCORE: [3.0] * 4, "oracle": [0.5] * 4}),
    ]
    text = _text(cells)
    assert "In token_ppo_matched_lambda:n=5 the reward-model score rises over SFT, but no rise of the oracle" in text
    assert "rise together in token_ppo (" in text
    assert (
        "Over-optimised: in macro_ppo:fixed(n=5) the reward-model score rises over SFT while the oracle falls." in text
    )


def test_parity_sentence(three_arms: list[Cell], make_curve: Callable[..., list[dict[str, Any]]]) -> None:
    assert (
        "macro_ppo:fixed(n=5) reaches the token arm's final training score after 2.0 updates, "
        "the token arm itself after 4.0: speed-up 2.00 in each of 2 seeds; equal seeds show no spread, so this says nothing of other seeds."
        in _text(three_arms)
    )


def test_the_speed_up_of_one_seed_is_said_to_be_of_one(three_arms: list[Cell]) -> None:
    assert "speed-up 2.00 in this one seed." in _text([cell for cell in three_arms if cell.record.seed == 0])


def test_parity_with_a_token_arm_that_does_not_rise_says_nothing(
    make_cell: CellFactory, make_curve: Callable[..., list[dict[str, Any]]]
) -> None:
    cells = [
        make_cell(TOKEN, 0, {SCORE: [1.0, 1.0]}, curve=make_curve([2.0, 1.0, 0.0, 1.0])),
        make_cell(MACRO, 0, {SCORE: [1.0, 1.0]}, curve=make_curve([2.0, 3.0, 4.0, 5.0])),
    ]
    assert "macro_ppo:fixed(n=5): parity says nothing here" in _text(cells)

"""Win rates by judges in the report: worked numbers, and what a reader is warned of."""

import dataclasses
import json

import pytest

from marl_bench.judgements import JudgedPair, Judgement, Verdict, read_pairs
from marl_bench.judging.job import JobLimits
from marl_bench.reporting.agreement import judges_of_runs
from marl_bench.reporting.judged import count_judged
from marl_bench.reporting.judged_tables import (
    judged_ranking_table,
    judged_reading,
    judged_sentences,
    judged_subsets_table,
    judged_table,
)
from marl_bench.reporting.report import write_report

JUDGEMENT = Judgement("openai:m", ["p@1"], "standard", "both", 0)
WINNERS = {"w": "arm", "l": "reference", "t": "tie"}


def verdict(order, letter):
    """w, l, t: the arm won, lost, tied; anything else is a status."""
    if letter in WINNERS:
        return Verdict(order, "tie" if letter == "t" else "ok", WINNERS[letter], path="structured", prompt_tokens=10)
    return Verdict(order, letter, None, "why")


def pair(number, first, second=None, *, subset="", words=(5, 5)):
    verdicts = [verdict("arm_first", first), *([verdict("reference_first", second)] if second else [])]
    return JudgedPair(f"p{number}", subset, "macro", "sft", 0, 0, *words, verdicts)


def counted(pairs, **changes):
    return count_judged(
        "m", Judgement(**{**JUDGEMENT.to_json(), **changes}), pairs, labels={"macro": "macro_ppo:fixed(n=5)"}
    )


def test_pairs_of_one_text_are_ties_that_nobody_is_asked_about(make_run, server, judge_it, stored_pairs, wire):
    # Odd prompts: macro and token PPO say the same. The judge always answers A.
    run_dir = make_run(6, text=lambda arm, seed, number: "same" if number % 2 and arm != "sft" else f"{arm} {number}")
    server.behave = lambda asked: asked.verdict("A")
    judged = judge_it(run_dir)
    # 2 comparisons with SFT of 6 pairs, in both orders, and 3 pairs of macro with token PPO; on odd prompts the two arms share questions.
    assert len(server.asked) == 2 * (6 + 3) + 2 * 3
    same = [pair for pair in stored_pairs(judged) if pair.reference == "token_ppo" and int(pair.prompt_id[1:]) % 2]
    assert len(same) == 3
    assert {pair.score for pair in same} == {0.5}
    assert {(verdict.status, verdict.winner, verdict.path) for pair in same for verdict in pair.verdicts} == {
        ("tie", "tie", "identical")
    }
    (rates,) = judged.rates
    assert rates.consistency == 0.0  # of the 15 pairs that were asked; the 3 others say nothing of it
    assert rates.unscored == 0
    assert any(note.startswith("3 of 18 pairs hold the same text twice") for note in rates.judgement.notes)


def test_a_run_of_equal_arms_is_judged_without_a_judge(make_run, server, judge_it, stored_pairs):
    judged = judge_it(make_run(4, text=lambda arm, seed, number: "same"))
    assert server.asked == []
    assert {pair.score for pair in stored_pairs(judged)} == {0.5}
    assert judged.rates[0].consistency is None


def test_rates_bounds_and_position_are_those_worked_by_hand():
    pairs = [
        pair(0, "w", "w"),
        pair(1, "w", "l"),
        pair(2, "l", "l"),
        pair(3, "t", "t"),
        pair(4, "w", "t"),
        pair(5, "w", "truncated"),
        pair(6, "refusal", "refusal"),
        pair(7, "w", "w"),
    ]
    found = counted(pairs)
    (rate,) = found.rates
    # Scores 1, 1/2, 0, 1/2, 3/4, -, -, 1: 3.75 of 6. Bounds over 8 pairs: 3.75 / 8 and 5.75 / 8.
    assert rate.found.rate.estimate == pytest.approx(3.75 / 6)
    assert (rate.found.wins, rate.found.ties, rate.found.losses, rate.found.unscored) == (3, 2, 1, 2)
    assert (rate.found.low_bound, rate.found.high_bound) == pytest.approx((3.75 / 8, 5.75 / 8))
    # Of the 6 pairs with both verdicts, 0, 2, 3 and 7 agree.
    assert found.consistency == rate.consistency == pytest.approx(4 / 6)
    # Verdicts with a winner: first-read wins in 0 (1 of 2), 1 (2 of 2), 2 (1 of 2), 4 (1 of 1), 5 (1 of 1), 7 (1 of 2): 7 of 10.
    assert found.first_rate.estimate == pytest.approx(7 / 10)
    assert found.statuses == {"ok": 10, "refusal": 2, "tie": 3, "truncated": 1}
    assert found.tokens == (130, 0)
    assert (found.pairs, found.unscored) == (8, 2)
    assert any("2 of 8 pairs have no score (2 refusal, 1 truncated)" in warning for warning in found.warnings())
    (row,) = judged_table(found).rows
    assert row[:3] == ["macro_ppo:fixed(n=5)", "sft", "62.5 %"]
    assert row[6:9] == ["3 / 2 / 1", "2", "46.9 to 71.9 %"]


def test_pairs_that_nobody_scored_have_no_rate_but_bounds():
    (rate,) = counted([pair(0, "refusal", "refusal"), pair(1, "w", "budget")]).rates
    assert rate.found.rate is None and rate.detectable is None and rate.length_controlled is None
    (row,) = judged_table(counted([pair(0, "refusal", "refusal")])).rows
    assert row[2:5] == ["–", "–", "–"] and row[8] == "0.0 to 100.0 %"


def test_a_judge_that_prefers_length_is_nearer_to_even_at_equal_length():
    # The arm wins 3 of 4 where it is longer, 1 of 4 where it is shorter, and it is longer in 30 of 40 pairs.
    pairs = [pair(n, "w" if n % 4 else "l", "w" if n % 4 else "l", words=(20, 10)) for n in range(30)]
    pairs += [pair(30 + n, "l" if n % 4 else "w", "l" if n % 4 else "w", words=(10, 20)) for n in range(10)]
    (rate,) = counted(pairs).rates
    assert rate.found.rate.estimate > rate.length_controlled.estimate > 0.4


def test_sentences_say_no_more_than_the_numbers():
    def said(pairs):
        return " ".join(judged_reading([counted(pairs)]))

    won = [pair(n, "w", "w") for n in range(30)]
    assert "macro_ppo:fixed(n=5) against sft: better with this seed; it wins 100.0 % of the pairs" in said(won)
    assert ": worse with this seed; it wins 0.0 %" in said([pair(n, "l", "l") for n in range(30)])
    assert "no difference can be shown at this size; it wins 50.0 %" in said(
        [pair(n, "wl"[n % 2], "wl"[n % 2]) for n in range(30)]
    )
    # 30 won of 30 scored, 40 unscored: as losses they make 30 / 70.
    unscored = [pair(30 + n, "refusal", "refusal") for n in range(40)]
    assert "better by the scored pairs, but the unscored ones could turn it around" in said(won + unscored)
    assert "say nothing of the responses" in said([pair(n, "w", "l") for n in range(30)])


def test_labels_name_no_prompts():
    """People read a sheet, no prompt: nothing stands where its id would."""
    (said, *_) = judged_sentences(counted([pair(0, "w")], judge="labels:anna", prompts=[], order="single"))
    assert said == "Judge `labels:anna`, protocol standard, one order of each pair, seed 0."


def test_subsets_have_rates_of_their_own():
    found = counted([pair(0, "w", "w", subset="a"), pair(1, "l", "l", subset="b"), pair(2, "t", "t", subset="b")])
    rows = judged_subsets_table(found).rows
    assert [(row[2], row[3], row[5]) for row in rows] == [("a", "100.0 %", "1 / 0 / 0"), ("b", "25.0 %", "0 / 1 / 1")]
    assert judged_subsets_table(counted([pair(0, "w", "w")])) is None


def test_a_single_order_has_no_consistency_but_a_first_position_rate():
    found = counted([pair(n, "w") for n in range(30)], order="single")
    assert found.consistency is None
    assert found.first_rate.estimate == 1.0
    (warning,) = found.warnings()
    assert "read first won 100 %" in warning and "judge both orders" in warning
    assert counted([pair(n, "wl"[n % 2]) for n in range(30)], order="single").warnings() == []


def test_two_judgements_by_one_model_are_held_against_each_other_and_not_mixed(run_dir, server, judge_it):
    judge_it(run_dir)
    server.behave = lambda asked: asked.verdict("tie")
    judge_it(run_dir, temperature=1.0, name="warm")
    (found,) = judges_of_runs([run_dir.root])
    assert (found.judge, found.other) == ("openai:judge-1 (judge-1)", "openai:judge-1 (warm)")
    assert found.pairs == 18
    assert found.same.estimate == 0.0


def test_a_judge_that_always_answers_a_comes_out_even_and_is_warned_of(run_dir, server, wire, judge_it, stored_pairs):
    server.behave = lambda asked: asked.verdict("A")
    judged = judge_it(run_dir)
    assert {pair.score for pair in stored_pairs(judged)} == {0.5}
    (rates,) = judged.rates
    assert rates.consistency == 0.0
    assert {rate.found.rate.estimate for rate in rates.rates} == {0.5}
    assert rates.first_rate.estimate == 1.0
    warning = "only 0 % of the pairs have the same winner in both orders"
    assert warning in " ".join(rates.warnings())
    assert warning in judged.report.report.read_text().split("## Reading")[0]


def test_the_report_says_who_judged_and_is_the_same_twice(run_dir, server, wire, judge_it):
    from marl_bench.judging.costs import Price

    judged = judge_it(run_dir, price=Price(10.0, 100.0, "test"))
    text = judged.report.report.read_text()
    assert "## Win rates by openai:judge-1" in text
    assert "| macro_ppo:fixed(n=5) | sft | 100.0 % |" in text
    assert (
        "Judge `openai:judge-1`, prompts `tldr-summary@1`, protocol standard, both orders of each pair, seed 0." in text
    )
    # 36 calls of 100 + 10 tokens: 3,600 and 360; 3,600 * 10 / 1e6 + 360 * 100 / 1e6 = 0.036 + 0.036.
    assert "Tokens: 3,600 read, 360 written, 0.07 US dollars." in text
    assert json.loads((judged.folders[0] / "judgement.json").read_text())["cost"] == 0.072
    assert write_report([run_dir], out=run_dir.root, force=True).report.read_text() == text


def test_judges_stand_side_by_side(run_dir, server, wire, judge_it):
    judge_it(run_dir)
    text = judge_it(run_dir, protocol="official", limits=JobLimits()).report.report.read_text()
    assert "## Win rates by openai:judge-1\n" in text
    assert "## Win rates by openai:judge-1, official protocol" in text
    assert "±14 points" in text


def test_sentences_tell_of_an_alias(run_dir, server, wire, judge_it):
    judged = judge_it(run_dir, judge="openai:alias")
    assert "Asked was alias; the answers came from judge-1." in list(judged_sentences(judged.rates[0]))


def test_pairs_stand_in_the_experiment_of_their_arm_and_are_counted_together(make_run, server, wire, tmp_path):
    from marl_bench.judge_runs import Server, judge_runs
    from marl_bench.judging.plan import JudgeOptions, plan_judging
    from marl_bench.plugins import Registry

    def text(arm, seed, number):
        return "word " * (number + len(arm))

    first = make_run(4, text=text, arms=("sft", "token_ppo"))
    second = make_run(4, text=text, arms=("macro_ppo-fixed_n5",), name="second")
    plan = plan_judging([first, second], JudgeOptions("openai:judge-1", own_server=True), Registry())
    judged = judge_runs(plan, Server(server.url), JobLimits())
    assert [folder.parent.parent for folder in judged.folders] == [second.root, first.root]
    arms = [{found.arm for found in read_pairs(folder)} for folder in judged.folders]
    assert arms == [{"macro_ppo-fixed_n5"}, {"token_ppo"}]
    assert judged.report is None
    (rates,) = judged.rates
    assert rates.pairs == 12 and len(rates.rates) == 3
    text = write_report([first, second], out=tmp_path / "both", force=True).report.read_text()
    assert text.count("## Win rates by openai:judge-1") == 1


def test_three_arms_of_one_judge_are_ranked():
    # token beats sft on 3 of 4 prompts, macro beats token on 3 of 4: log strengths log 3 apart; one more pair is unscored.
    pairs = [dataclasses.replace(pair(n, "wwwl"[n], "wwwl"[n]), arm="token_ppo", reference="sft") for n in range(4)]
    pairs += [dataclasses.replace(pair(n, "wwwl"[n], "wwwl"[n]), reference="token_ppo") for n in range(4)]
    assert counted(pairs[:4]).ranking is None
    found = counted([*pairs, dataclasses.replace(pair(9, "refusal", "refusal"), reference="token_ppo")])
    table = judged_ranking_table(found)
    assert [(row[0], row[1]) for row in table.rows] == [
        ("macro_ppo:fixed(n=5)", "+1.099"),
        ("token_ppo", "0.000"),
        ("sft", "-1.099"),
    ]
    assert "8 pairs on 4 prompts, 1 more left out as unscored" in table.note

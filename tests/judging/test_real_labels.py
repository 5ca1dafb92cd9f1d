"""Real labels of people and models, where published figures say what must come out. AlpacaEval's are for non-commercial use: tests only.

What the sample data leave out (10 to 15 %) bounds how near a published figure a count on them must be.
"""

import gzip
import json
import sys

import numpy as np
import pytest

from marl_bench.judging.label_files import LabelFileOptions, read_label_file
from marl_bench.statistics.length_control import length_controlled_win_rate
from marl_bench.statistics.pair_labels import compare_labels, summarise_labels
from marl_bench.statistics.win_rates import win_rate

GENERATORS = {
    "alpaca_eval_gpt4": ["alpaca-7b", "alpaca-farm-ppo-human", "gpt4", "llama-2-7b-chat-hf", "text_davinci_001"],
    "weighted_alpaca_eval_gpt4_turbo": ["alpaca-7b", "alpaca-farm-ppo-human", "text_davinci_001", "text_davinci_003"],
}


@pytest.fixture(scope="module")
def reference(sample_data):
    return sample_data / "judge_reference"


@pytest.fixture(scope="module")
def alpaca(reference):
    return Alpaca(reference / "alpaca_eval")


class Alpaca:
    """AlpacaEval's annotations, joined with the outputs that they are about."""

    def __init__(self, folder):
        self.folder = folder
        self.number = {row["instruction"]: row["idx"] for row in rows(folder / "eval_set.jsonl.gz")}
        self.expected = json.loads((folder / "expected_win_rates.json").read_text())

    def lengths(self, generator):
        found = rows(self.folder / "outputs" / f"{generator}.jsonl.gz")
        return {self.number[row["instruction"]]: len(row["output"]) for row in found}

    def pairs(self, annotator, generator):
        """Prompt number to the score of the generator's output, None where the annotator failed."""
        path = self.folder / "annotations" / f"{annotator}.jsonl.gz"
        mine = [row for row in rows(path) if row["generator_2"] == generator]
        baseline = mine[0]["generator_1"]
        return baseline, {
            row["idx"]: {None: None, 0: 0.5}.get(row["preference"], (row["preference"] or 0) - 1) for row in mine
        }


def rows(path):
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def read(path, *judges, **options):
    found = read_label_file(path, LabelFileOptions(judges=judges, **options))
    return found.pairs, {judge.name: judge for judge in found.judges}


def held_against(found, judge, other):
    pairs, judges = found
    return compare_labels(judges[judge], judges[other], pairs, rng=np.random.default_rng(0), resamples=200)


def right(found, judge, other="label"):
    """How many pairs two judges agree on."""
    one = held_against(found, judge, other)
    return round(one.same.estimate * one.pairs)


# AlpacaEval


@pytest.mark.parametrize(("annotator", "generator"), [(a, g) for a, names in GENERATORS.items() for g in names])
def test_published_win_rates_come_out(alpaca, annotator, generator):
    _, scores = alpaca.pairs(annotator, generator)
    expected = alpaca.expected[annotator][generator]
    found = win_rate(list(scores.values()), [str(number) for number in scores])
    assert 100 * found.rate.estimate == pytest.approx(expected["win_rate"], abs=1e-9)
    assert found.scored == expected["n_total"]
    if expected["published_win_rate"] is not None:
        assert 100 * found.rate.estimate == pytest.approx(expected["published_win_rate"], abs=1e-9)


@pytest.mark.parametrize("generator", ["alpaca-7b", "alpaca-farm-ppo-human", "llama-2-7b-chat-hf", "text_davinci_001"])
def test_half_an_interval_is_two_published_standard_errors(alpaca, generator):
    _, scores = alpaca.pairs("alpaca_eval_gpt4", generator)
    found = win_rate(list(scores.values()), [str(number) for number in scores])
    wanted = 1.96 * alpaca.expected["alpaca_eval_gpt4"][generator]["published_standard_error"]
    assert 100 * found.rate.half_width == pytest.approx(wanted, rel=0.02)


def length_controlled(alpaca, annotator, generator):
    """The raw and the length-controlled win rate, in percent."""
    baseline, scores = alpaca.pairs(annotator, generator)
    own, other = alpaca.lengths(generator), alpaca.lengths(baseline)
    known = [number for number, score in scores.items() if score is not None and number in own and number in other]
    found = length_controlled_win_rate(
        [scores[number] for number in known],
        [own[number] - other[number] for number in known],
        [str(number) for number in known],
        rng=np.random.default_rng(0),
        resamples=100,
    )
    return 100 * np.mean([scores[number] for number in known]), 100 * found.estimate


@pytest.mark.parametrize(
    ("generator", "published"), [("alpaca-7b", 5.875), ("alpaca-farm-ppo-human", 6.419), ("text_davinci_001", 9.026)]
)
def test_length_control_moves_win_rates_as_the_leaderboard_does_though_further(alpaca, generator, published):
    # The leaderboard's fit has a term for each instruction's difficulty and a penalty on large coefficients; ours has neither. These three
    # are nearly always shorter than the baseline, so that equal length lies outside most of the data: the same direction is all to expect.
    raw, controlled = length_controlled(alpaca, "weighted_alpaca_eval_gpt4_turbo", generator)
    assert raw < published < controlled


@pytest.mark.soak
def test_length_controlled_rates_are_printed(alpaca, capsys):
    """Not a check but a table: `pytest -m soak -n 0 -k are_printed tests/judging/test_real_labels.py`."""
    for annotator, names in GENERATORS.items():
        for generator in names:
            raw, controlled = length_controlled(alpaca, annotator, generator)
            with capsys.disabled():
                sys.stdout.write(f"{annotator} {generator}: raw {raw:.2f} %, at equal length {controlled:.2f} %\n")


@pytest.mark.parametrize("generator", ["gpt4", "llama-2-7b-chat-hf", "alpaca-farm-ppo-human"])
def test_length_control_takes_from_those_that_are_longer_than_the_baseline(alpaca, generator):
    raw, controlled = length_controlled(alpaca, "alpaca_eval_gpt4", generator)
    assert controlled < raw - 5


# LLMBar


@pytest.mark.parametrize(
    ("judge", "published"),
    [
        ("GPT-4/Vanilla.swap_false", 95),
        ("GPT-4/Vanilla.swap_true", 96),
        ("GPT-4/Swap.swap_false", 94),
        ("GPT-4/Swap.swap_true", 95),
    ],
)
def test_accuracy_on_llmbar_natural_is_the_published_one(reference, judge, published):
    found = read(reference / "llmbar/pairs.jsonl.gz", f"judges.{judge}", "label", where={"subset": "Natural"})
    count = right(found, f"judges.{judge}")
    assert len(found[0]) == 82
    assert 0 <= published - count <= 18  # of the 100 published pairs, 18 are left out here


def test_position_consistency_of_gpt4_and_of_its_weaker_brother(reference):
    path = reference / "llmbar/pairs.jsonl.gz"
    names = {
        judge: [f"judges.{judge}/Vanilla.swap_{swap}" for swap in ("false", "true")] for judge in ("GPT-4", "ChatGPT")
    }
    found = read(path, *names["GPT-4"], *names["ChatGPT"], where={"subset": "Natural"}, unscored=["None"])
    consistent = {judge: right(found, *both) for judge, both in names.items()}
    natural = [row["judges"] for row in rows(path) if row["subset"] == "Natural"]
    for judge, count in consistent.items():
        both = [row[f"{judge}/Vanilla"] for row in natural]
        assert count == sum(one["swap_false"] == one["swap_true"] for one in both)
    assert consistent["GPT-4"] > consistent["ChatGPT"] + 10


# PandaLM


@pytest.fixture(scope="module")
def pandalm(reference):
    people = ["annotator1", "annotator2", "annotator3"]
    return read(
        reference / "pandalm/testset.jsonl.gz",
        "gpt-3.5-turbo",
        "pandalm-7b",
        *people,
        majorities={"people": people},
        unscored=["garbage"],
        responses=("response1", "response2"),
        cluster="instruction",
    )


@pytest.mark.parametrize(("one", "other", "published"), [(1, 2, 0.85), (1, 3, 0.88), (2, 3, 0.86)])
def test_kappas_of_people_are_those_that_pandalm_publishes(pandalm, one, other, published):
    found = held_against(pandalm, f"annotator{one}", f"annotator{other}")
    assert found.pairs == 898
    assert found.kappa.estimate == pytest.approx(published, abs=0.01)


@pytest.mark.parametrize(
    ("judge", "published", "scored"), [("gpt-3.5-turbo", 0.7107, 875), ("pandalm-7b", 0.6677, 898)]
)
def test_models_agree_with_the_majority_of_people_as_published(pandalm, judge, published, scored):
    # On all 999 pairs, and with what cannot be read as a tie, the published share comes out to its last digit; 101 pairs are left out here.
    found = held_against(pandalm, judge, "people")
    assert found.pairs == scored
    assert found.same.estimate == pytest.approx(published, abs=0.01)
    assert found.same.low < published < found.same.high


def test_people_and_models_like_the_longer_of_pandalms_responses_alike(pandalm):
    for judge in ("gpt-3.5-turbo", "pandalm-7b"):
        found = held_against(pandalm, judge, "people")
        assert found.longer > 0.6
        assert found.longer_other > 0.6
        assert not found.length_bias.excludes(0)


# Judgements of gpt-3.5-turbo


def test_tldr_verdicts_are_those_from_which_the_comparisons_were_made(sample_data):
    folder = sample_data / "summarize_from_feedback"
    counts = dict.fromkeys((1.0, 0.5, 0.0), 0)
    for split, part in (("train", "train"), ("test", "validation")):
        path = folder / f"gpt35_judgements/{split}.jsonl.gz"
        pairs, judges = read(path, "verdict", values={"model": "1", "gold": "2"})
        verdicts = {row["id"]: judges["verdict"].scores[key] for key, row in zip(pairs, rows(path), strict=True)}
        for score in verdicts.values():
            counts[score] += 1
        made = [row for row in rows(folder / f"comparisons/{part}.jsonl.gz") if row["worker"].startswith("gpt")]
        assert len(made) == sum(score != 0.5 for score in verdicts.values())  # ties are dropped there
        for row in made:
            chosen = row["summaries"][row["choice"]]["policy"]
            assert verdicts[row["info"]["id"]] == (0.0 if chosen == "ref" else 1.0)
    # Of 500 published verdicts (293 model, 61 gold, 146 equal), 82 are left out here.
    left_out = [published - counts[score] for published, score in ((293, 1.0), (61, 0.0), (146, 0.5))]
    assert sum(left_out) == 82
    assert min(left_out) >= 0


def test_dove_verdicts_prefer_the_model_and_less_so_at_equal_length(reference):
    path = reference / "dove_helpful_gpt35/judgements.jsonl.gz"
    pairs, judges = read(path, "verdict", values={"model": "1", "gold": "2"}, responses=("model", "gold"))
    scores = judges["verdict"].scores
    assert len(pairs) == len(scores) == 454
    found = length_controlled_win_rate(
        [scores[key] for key in pairs],
        [pair.length_gap for pair in pairs.values()],
        list(pairs),
        rng=np.random.default_rng(0),
        resamples=100,
    )
    assert 0.5 < found.estimate < np.mean(list(scores.values()))


@pytest.mark.parametrize("subset", ["helpful", "honest", "harmless", "other"])
def test_people_behind_hhh_alignment_prefer_the_longer_answer_except_in_other(reference, subset):
    pairs, judges = read(
        reference / "hhh_alignment/test.jsonl.gz",
        "targets.labels.0",
        responses=("targets.choices.0", "targets.choices.1"),
        cluster="input",
        where={"subset": subset},
    )
    found = summarise_labels(judges["targets.labels.0"], pairs, rng=np.random.default_rng(0), resamples=100)
    assert (found.rate.wins, found.rate.scored) == (len(pairs), len(pairs))  # choice 0 is always the preferred one
    assert found.length_controlled is None  # nobody ever loses: no fit can tell length from quality
    assert (found.longer.estimate > 0.6) == (subset != "other")

"""The embedded data of task webgpt: questions, answers, gold score, annotator, rows."""

import json
import random
import statistics
import subprocess
import sys

import pytest
from marl_bench_tasks.webgpt import TASK
from marl_bench_tasks.webgpt.answers import CORRUPTIONS, corrupted_answer, mediocre_answer, reference_answer
from marl_bench_tasks.webgpt.embedded import TEST_ROWS, TRAIN_ROWS, embedded_rows
from marl_bench_tasks.webgpt.gold import HIGHEST_TOTAL, GoldFacts, gold_facts, gold_score
from marl_bench_tasks.webgpt.phrases import closing, opening, parse_closing, parse_opening
from marl_bench_tasks.webgpt.prompts import Quote, render_prompt
from marl_bench_tasks.webgpt.questions import SUBSETS, make_questions
from marl_bench_tasks.webgpt.support import supports
from marl_bench_tasks.webgpt.texts import QUESTIONS, pretraining_texts
from marl_bench_tasks.webgpt.world import (
    ARTICLES,
    RELATIONS,
    Fact,
    Names,
    Statement,
    make_reference,
    parse_statement,
    state,
)
from tokenizers import Tokenizer

DESIGNER = Fact("designer", "Corwin Bridge", "Ada Moss")
BIRTHPLACE = Fact("birthplace", "Ada Moss", "Halden")
SUBJECT = Fact("subject", "Ada Moss", "law")
FACTS = GoldFacts(
    topic="where the person who designed the Corwin Bridge was born",
    subject="the Corwin Bridge",
    asked=(DESIGNER, BIRTHPLACE),
    numbers={
        DESIGNER: 1,
        Fact("material", "Corwin Bridge", "oak"): 1,
        Fact("material", "Selby Tower", "iron"): 2,
        BIRTHPLACE: 3,
        SUBJECT: 3,
    },
)
OPENING = "You would like to know where the person who designed the Corwin Bridge was born, and the references can answer this."
WRONG_OPENING = OPENING.replace("born", "hired")
DESIGNED = "The person who once designed the Corwin Bridge was Ada Moss [1]."
DESIGNED_AGAIN = "As one can read there, the Corwin Bridge was designed by Ada Moss [1]."
WRONGLY_DESIGNED = DESIGNED.replace("Ada Moss", "Ivan Holt")
BORN = "As for the early years, Ada Moss was born in Halden [3]."
STUDIED = "Before the first work was done Ada Moss studied law [3]."
OAK = "From top to bottom the Corwin Bridge is made of oak [1]."
OTHER = "From top to bottom the Selby Tower is made of iron [2]."
CLOSING = "So, to say it once more at the end, this is what one can read there about the Corwin Bridge."
IDLE = "There are many opinions about this."
GOOD = (OPENING, DESIGNED, BORN, STUDIED, CLOSING)


@pytest.mark.parametrize(
    ("sentences", "expected"),
    [
        # .5 + (2 + 2) / 2 + .5 + .5
        (GOOD, 3.5),
        # the facts and the detail in any order, the detail of the other reference
        ((OPENING, OAK, BORN, DESIGNED, CLOSING), 3.5),
        # a second detail brings nothing
        ((OPENING, DESIGNED, BORN, STUDIED, OAK, CLOSING), 3.5),
        # (1 + 1) / 2: one fact of two, nothing else
        ((BORN,), 1.0),
        # 1 / 2 - .1: without its citation
        ((BORN.replace(" [3]", ""),), 0.4),
        # 1 / 2 - .3: with a wrong one, or with one too many
        ((BORN.replace("[3]", "[2]"),), 0.2),
        ((BORN.replace("[3]", "[3, 2]"),), 0.2),
        ((BORN.replace("[3]", "[3][2]"),), 0.2),
        # -.5 - .3: a wrong value is unsupported, so no number is right
        ((WRONGLY_DESIGNED,), -0.8),
        # -.5 - .3: the right value does not count beside a wrong one
        ((DESIGNED, WRONGLY_DESIGNED), -0.8),
        # 1 - .3: a statement of a reference about another entity
        ((BORN, OTHER), 0.7),
        # .25 + .25 of the detail, .5 of the closing; the detail without its citation
        ((STUDIED, CLOSING), 1.0),
        ((STUDIED.replace(" [3]", ""), CLOSING), 0.65),
        # 1 + .5 - .5: the closing names another subject
        ((OPENING, BORN, CLOSING.replace("Corwin", "Selby")), 1.0),
        # .5 of the closing, but not in the middle, and .5 of the opening only at the beginning
        ((OPENING, CLOSING, BORN), 1.5),
        ((BORN, OPENING, CLOSING), 1.5),
        # 1 - .5: the question is another
        ((WRONG_OPENING, BORN), 0.5),
        # 1 - 2 * .3: repeated as it is and in other words
        ((DESIGNED, DESIGNED, DESIGNED_AGAIN), 0.4),
        # 1 - .2, and 1 - .2 - .3
        ((BORN, IDLE), 0.8),
        ((BORN, IDLE, IDLE), 0.5),
        # 1 - .15 - .5: it stops inside a sentence, or ends in no known one
        ((BORN, "There are many"), 0.35),
        ((BORN, "There are many."), 0.35),
        # 1 - 2 * .15: noise of 13 words counts as two sentences
        (("a b c d e f g h i j k l m.", BORN), 0.7),
        # -.5: nothing is said, so nothing ends
        ((), -0.5),
        # 20 * -.15 - .5 is below the lowest total
        (("So it is.",) * 20, -1.0),
    ],
)
def test_gold_score_of_worked_examples(sentences, expected):
    assert gold_score(FACTS, " " + " ".join(sentences)).total == pytest.approx(expected)


def test_gold_score_names_its_parts():
    text = " ".join(
        (OPENING, DESIGNED, BORN.replace(" [3]", ""), OAK.replace("[1]", "[2]"), OTHER, OTHER, IDLE, "Oh no.", CLOSING)
    )
    score = gold_score(FACTS, text)
    assert (score.opening, score.covered, score.covered_and_cited) == (True, 2, 1)
    assert (score.detail, score.detail_cited, score.closing) == (True, False, True)
    assert (score.unsupported, score.other_entity, score.wrong_citations, score.missing_citations) == (0, 1, 1, 1)
    assert (score.repetitions, score.idle, score.noise, score.ends_properly) == (1, 1, 1, True)


def test_keyword_soup_earns_nothing():
    soup = " ".join(f"{fact.entity} {fact.relation} {fact.value} [{number}]" for fact, number in FACTS.numbers.items())
    assert gold_score(FACTS, soup).total < 0
    assert gold_score(FACTS, f"{soup}.").covered == 0


def test_guessing_values_does_not_pay():
    guesses = [DESIGNED.replace("Ada Moss", name) for name in ("Ivan Holt", "Nora Fox")]
    known = gold_score(FACTS, " ".join((OPENING, BORN, STUDIED, CLOSING))).total
    assert gold_score(FACTS, " ".join((OPENING, DESIGNED, *guesses, BORN, STUDIED, CLOSING))).total < known


def test_two_facts_in_one_sentence_are_noise():
    assert gold_score(FACTS, f"{BORN.removesuffix(' [3].')} {DESIGNED}").covered == 0


@pytest.mark.parametrize("name", sorted(RELATIONS))
def test_every_wording_states_its_own_fact_alone(name):
    rng = random.Random(0)
    article = next(article for article in ARTICLES if RELATIONS[name] in article.relations)
    for _ in range(20):
        reference = make_reference(article.kind, Names(rng), rng)
        fact = next(fact for fact in reference.facts if fact.relation == name)
        sentence = state(fact, rng, cited=(4, 12))
        assert parse_statement(sentence) == Statement(fact, (4, 12))
        assert parse_statement(reference.text) is None
        assert parse_opening(sentence) is None
        assert parse_closing(sentence) is None
        assert supports(f"{reference.entity}: {reference.text}", state(fact, rng))
        assert sentence.removesuffix(" [4, 12].").endswith(fact.value)


def test_openings_and_closings_are_read_back():
    rng = random.Random(0)
    for _ in range(10):
        assert parse_opening(opening("who did it", rng)) == "who did it"
        assert parse_closing(closing("the Corwin Bridge", rng)) == "the Corwin Bridge"


def test_facts_survive_json():
    assert GoldFacts.from_json(json.loads(json.dumps(FACTS.to_json()))) == FACTS


def test_questions_follow_from_the_seed_and_a_larger_count_continues_them():
    assert make_questions(count=20, seed=3) == make_questions(count=30, seed=3)[:20]
    assert make_questions(count=20, seed=3) != make_questions(count=20, seed=4)


@pytest.fixture(scope="module")
def questions():
    return make_questions(count=400, seed=1)


def test_references_state_what_is_asked_and_no_value_stands_for_two_facts(questions):
    assert {question.subset for question in questions} == set(SUBSETS)
    for question in questions:
        assert len(question.references) in (3, 4)
        stated = [fact for reference in question.references for fact in reference.facts]
        assert set(question.asked) < set(stated)
        assert len({fact.value for fact in stated}) == len(stated)
        for reference in question.references:
            assert all(fact.value in reference.text and fact.entity == reference.entity for fact in reference.facts)
        numbers = {question.number_of(fact) for fact in question.asked}
        assert len(numbers) == (2 if question.subset == "two_references" else 1)
        # Distractors are about other entities; what they state is of other relations, but of the same kinds of value.
        assert len({fact.relation for fact in stated}) == len(stated)
        assert question.distractions
        assert not {fact.entity for fact in question.distractions} & {fact.entity for fact in question.asked}


def test_references_are_perfect_and_outscore_every_corruption(questions):
    rng = random.Random(0)
    for question in questions[:40]:
        facts = gold_facts(question)
        assert gold_score(facts, reference_answer(question, rng)).total == HIGHEST_TOTAL
        for kind in CORRUPTIONS:
            assert gold_score(facts, corrupted_answer(question, rng, kind=kind)).total < HIGHEST_TOTAL, kind


def test_mediocre_answers_end_properly_and_leave_much_to_gain(questions):
    rng = random.Random(0)
    scores = [gold_score(gold_facts(question), mediocre_answer(question, rng)) for question in questions]
    assert all(score.ends_properly and score.noise == 0 for score in scores)
    assert 1.0 < statistics.mean(score.total for score in scores) < 2.2
    assert statistics.stdev(score.total for score in scores) > 0.7


@pytest.fixture(scope="module")
def rows():
    return embedded_rows()


def test_annotator_agrees_with_gold_in_about_85_percent_of_the_pairs(rows):
    agreements = []
    for row in rows:
        facts = GoldFacts.from_json(row["facts"])
        difference = gold_score(facts, row["answer_0"]).total - gold_score(facts, row["answer_1"]).total
        if difference:
            agreements.append((difference > 0) == (row["score_0"] > 0))
        assert row["answer_0"] != row["answer_1"]
    assert 0.82 < statistics.mean(agreements) < 0.88


def test_rows_have_the_schema_of_the_hub(rows):
    assert [row["split"] for row in rows] == ["train"] * TRAIN_ROWS + ["test"] * TEST_ROWS
    assert len({row["question"]["id"] for row in rows}) == len(rows)
    assert rows[:50] == json.loads(json.dumps(rows[:50]))
    for row in rows[:50]:
        assert set(row["question"]) == {"dataset", "id", "full_text"}
        assert [set(row[f"quotes_{side}"]) for side in (0, 1)] == [{"title", "extract"}] * 2
        assert row["score_0"] == -row["score_1"] != 0
        assert gold_score(GoldFacts.from_json(row["facts"]), row["reference_answer"]).total == HIGHEST_TOTAL
    assert 0.45 < statistics.mean(row["score_0"] > 0 for row in rows) < 0.55


def test_preferences_show_every_fault(rows):
    assert {source for row in rows for source in row["sources"]} == {"reference", "mediocre", "whole", *CORRUPTIONS}


def test_rows_follow_from_the_seed():
    few = embedded_rows(seed=1, train_rows=20, test_rows=5)
    assert embedded_rows(seed=1, train_rows=20, test_rows=5) == few
    assert embedded_rows(seed=2, train_rows=20, test_rows=5)[0] != few[0]


def prompt_of(row):
    given = row["quotes_0"]
    quotes = [Quote(title, extract) for title, extract in zip(given["title"], given["extract"], strict=True)]
    return render_prompt(row["question"]["full_text"], quotes).text


def test_prompts_are_distinct_and_pretraining_texts_hold_none_of_the_test_rows(rows):
    prompts = [prompt_of(row) for row in rows]
    assert len(set(prompts)) == len(rows)
    texts = {text[: text.index(" Assistant:") + len(" Assistant:")] for text in pretraining_texts()}
    assert texts == set(prompts[:QUESTIONS])
    assert QUESTIONS <= TRAIN_ROWS


def test_prompts_and_answers_fit_the_limits_of_the_small_model(rows):
    tokenizer = Tokenizer.from_file(str(TASK.base_model / "tokenizer.json"))
    tokenizer.no_padding()  # the file keeps the setting of pretraining
    tokenizer.no_truncation()
    limit = TASK.settings["tiny"]["sampling"]["max_response_tokens"]
    prompts = tokenizer.encode_batch([prompt_of(row) for row in rows[::10]])
    assert max(len(prompt.ids) for prompt in prompts) <= 160
    answers = tokenizer.encode_batch([" " + row["reference_answer"] for row in rows[::10]])
    lengths = [len(answer.ids) + 1 for answer in answers]
    assert max(lengths) <= limit
    assert 60 <= min(lengths) < max(lengths) <= 120


def test_the_data_need_no_torch():
    code = "import sys, marl_bench_tasks.webgpt; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert done.stdout.split() == ["False", "False"]

"""The embedded data of task tldr: posts, summaries, gold score, annotator, rows."""

import json
import random
import statistics
import subprocess
import sys

import pytest
from marl_bench_tasks.tldr.annotator import make_preference_pairs
from marl_bench_tasks.tldr.embedded import TRAIN_ROWS, VALIDATION_ROWS, embedded_rows
from marl_bench_tasks.tldr.gold import HIGHEST_TOTAL, GoldFacts, gold_facts, gold_score
from marl_bench_tasks.tldr.posts import FACTS_PER_POST, make_posts, render_prompt
from marl_bench_tasks.tldr.predicates import (
    PREDICATES,
    Fact,
    parse_summary_sentence,
    post_sentence,
    random_fact,
    summary_sentence,
    with_wrong_value,
)
from marl_bench_tasks.tldr.summaries import CORRUPTIONS, corrupted_summary, mediocre_summary, reference_summary
from marl_bench_tasks.tldr.texts import pretraining_texts

FACTS = GoldFacts(
    facts=(
        Fact("author", ("24", "nurse", "Denver")),
        Fact("loan", ("Tara", "450", "car")),
        Fact("fight", ("Tara", "dishes", "Monday")),
        Fact("pet", ("black", "cat", "Biscuit")),
    ),
    question=Fact("question", ("move out", "stay quiet")),
)
AUTHOR = "The post was written by a 24 year old nurse who is living in Denver."
LOAN = "The author lent Tara a total of 450 dollars to pay for a car."
LOAN_REWORDED = "There is a loan as well, since Tara was lent 450 dollars by the author for a car."
WRONG_LOAN = "The author lent Tara a total of 900 dollars to pay for a car."
FIGHT = "Things got loud on Monday, when the author had a fight with Tara about the dishes."
PET = "They own a pet and share the care of it, a black cat that is called Biscuit."
TRIP = "They have booked a trip, which goes to Rome for six days in May."
QUESTION = "In the end the question is whether to move out or stay quiet after all of this."
WRONG_QUESTION = "In the end the question is whether to leave town or stay quiet after all of this."
DIGRESSION = "I had pizza for lunch again."


@pytest.mark.parametrize(
    ("sentences", "expected"),
    [
        # 2 * 4/4 + 0.5
        ((AUTHOR, LOAN, FIGHT, PET, QUESTION), 2.5),
        # the order is free
        ((QUESTION, PET, LOAN, FIGHT, AUTHOR), 2.5),
        # 2 * 2/4 + 0.5
        ((AUTHOR, PET, QUESTION), 1.5),
        # 2 * 1/4
        ((LOAN,), 0.5),
        # 2 * 3/4 + 0.5 - 0.5: a wrong value is an invention
        ((AUTHOR, WRONG_LOAN, FIGHT, PET, QUESTION), 1.5),
        # 2 * 4/4 + 0.5 - 0.5: a kind of fact that the post does not mention
        ((AUTHOR, LOAN, FIGHT, PET, TRIP, QUESTION), 2.0),
        # 2 * 4/4 - 0.5
        ((AUTHOR, LOAN, FIGHT, PET, WRONG_QUESTION), 1.5),
        # 2 * 1/4 - 0.2
        ((LOAN, DIGRESSION), 0.3),
        # 2 * 1/4 - 3 * 0.3: repeated as it is and in other words
        ((LOAN, LOAN, LOAN_REWORDED, LOAN), -0.4),
        # -0.2 - 0.3: a digression, and again
        ((DIGRESSION, DIGRESSION), -0.5),
        # 2 * 1/4 - 0.15 - 0.5: it stops inside a sentence
        ((LOAN, "Things got loud on"), -0.15),
        # 2 * 1/4 - 0.15 - 0.5: it ends in no known sentence
        ((LOAN, "Things got loud."), -0.15),
        # 2 * 1/4 - 2 * 0.15: noise of 13 words counts as two sentences
        (("a b c d e f g h i j k l m.", LOAN), 0.2),
        # -0.5: nothing is said, so nothing ends
        ((), -0.5),
        # 20 * -0.15 - 0.5 is below the lowest total
        (("So it is.",) * 20, -1.0),
    ],
)
def test_gold_score_of_worked_examples(sentences, expected):
    assert gold_score(FACTS, " " + " ".join(sentences)).total == pytest.approx(expected)


def test_gold_score_names_its_parts():
    text = " ".join((LOAN, WRONG_QUESTION, LOAN_REWORDED, DIGRESSION, "Oh no.", TRIP))
    score = gold_score(FACTS, text)
    assert (score.facts_covered, score.facts, score.question_covered) == (1, 4, False)
    assert (score.invented, score.repetitions, score.digressions, score.noise) == (2, 1, 1, 1)
    assert score.ends_properly


def test_keyword_soup_earns_nothing():
    soup = " ".join(value for fact in (*FACTS.facts, FACTS.question) for value in (fact.kind, *fact.values))
    assert gold_score(FACTS, soup).total < 0
    assert gold_score(FACTS, soup + ".").facts_covered == 0
    dotted = " ".join(f"lent {' '.join(fact.values)}." for fact in FACTS.facts)
    assert gold_score(FACTS, dotted).total < 0


def test_guessing_values_does_not_pay():
    one_right = " ".join((AUTHOR, LOAN, QUESTION))
    guesses = [LOAN.replace("450", amount) for amount in ("150", "200", "250")]
    assert gold_score(FACTS, " ".join((AUTHOR, *guesses, LOAN, QUESTION))).total < gold_score(FACTS, one_right).total
    assert gold_score(FACTS, " ".join((AUTHOR, guesses[0], LOAN, QUESTION))).total <= 1.5


def test_two_facts_in_one_sentence_are_noise():
    assert gold_score(FACTS, LOAN.rstrip(".") + " " + FIGHT).facts_covered == 0


@pytest.mark.parametrize("kind", sorted(PREDICATES))
def test_every_summary_wording_states_its_own_fact_alone(kind):
    rng = random.Random(0)
    for _ in range(50):
        fact = random_fact(kind, rng)
        assert parse_summary_sentence(summary_sentence(fact, rng)) == fact
        assert parse_summary_sentence(post_sentence(fact, rng)) is None
        assert with_wrong_value(fact, rng) != fact


def test_facts_survive_json():
    assert GoldFacts.from_json(json.loads(json.dumps(FACTS.to_json()))) == FACTS


def test_posts_follow_from_the_seed_and_a_larger_count_continues_them():
    assert make_posts(count=20, seed=3) == make_posts(count=30, seed=3)[:20]
    assert make_posts(count=20, seed=3) != make_posts(count=20, seed=4)


def test_posts_and_prompts_are_distinct_and_state_their_facts():
    posts = make_posts(count=4256, seed=0)
    assert len({post.id for post in posts}) == len({render_prompt(post) for post in posts}) == 4256
    assert len({post.facts for post in posts}) == 4256
    for post in posts[:200]:
        assert len({fact.kind for fact in post.facts}) == FACTS_PER_POST
        assert all(value in post.body for fact in (*post.facts, post.question) for value in fact.values)
        assert all(digression in post.body for digression in post.digressions)


def test_held_out_posts_share_at_most_one_fact_with_most_training_posts():
    posts = make_posts(count=1000, seed=0)
    held_out, train = posts[900:], posts[:900]
    shared = [max(len(set(post.facts) & set(other.facts)) for other in train) for post in held_out]
    assert statistics.mean(shared) < 1.5


def test_references_are_perfect_and_outscore_every_corruption():
    rng = random.Random(0)
    for post in make_posts(count=30, seed=1):
        facts = gold_facts(post)
        assert gold_score(facts, reference_summary(post, rng)).total == HIGHEST_TOTAL
        for kind in CORRUPTIONS:
            assert gold_score(facts, corrupted_summary(post, rng, kind=kind)).total < HIGHEST_TOTAL, kind


def test_mediocre_summaries_end_properly_and_leave_much_to_gain():
    rng = random.Random(0)
    scores = [gold_score(gold_facts(post), mediocre_summary(post, rng)) for post in make_posts(count=500, seed=1)]
    assert all(score.ends_properly and score.noise == 0 for score in scores)
    assert 0.4 < statistics.mean(score.total for score in scores) < 1.2
    assert statistics.stdev(score.total for score in scores) > 0.5


def test_annotator_agrees_with_gold_in_about_85_percent_of_the_pairs():
    agreements = []
    for pair in make_preference_pairs(make_posts(count=2000, seed=5), seed=5):
        facts = gold_facts(pair.item)
        difference = gold_score(facts, pair.chosen).total - gold_score(facts, pair.rejected).total
        if difference:
            agreements.append(difference > 0)
        assert pair.chosen != pair.rejected
    assert 0.82 < statistics.mean(agreements) < 0.9


def test_rows_have_the_schema_of_the_hub():
    rows = embedded_rows()
    assert rows == json.loads(json.dumps(rows))
    assert [row["split"] for row in rows] == ["train"] * TRAIN_ROWS + ["validation"] * VALIDATION_ROWS
    assert len({row["info"]["id"] for row in rows}) == len(rows)
    for row in rows[:100]:
        assert set(row["info"]) == {"id", "post", "title", "subreddit"}
        assert [set(summary) for summary in row["summaries"]] == [{"text", "policy"}] * 2
        assert row["choice"] in (0, 1)
        assert gold_score(GoldFacts.from_json(row["facts"]), row["reference_summary"]).total == HIGHEST_TOTAL
    assert 0.45 < statistics.mean(row["choice"] for row in rows) < 0.55


def test_preferences_show_every_fault():
    policies = {summary["policy"] for row in embedded_rows() for summary in row["summaries"]}
    assert policies == {"reference", "mediocre", *CORRUPTIONS}


def test_rows_follow_from_the_seed():
    assert embedded_rows(seed=1) == embedded_rows(seed=1)
    assert embedded_rows(seed=1)[0] != embedded_rows(seed=2)[0]


def test_pretraining_texts_hold_no_validation_post():
    texts = "\n".join(pretraining_texts())
    assert not any(row["info"]["post"] in texts for row in embedded_rows() if row["split"] == "validation")


def test_the_data_need_no_torch():
    code = "import sys, marl_bench_tasks.tldr.embedded; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert done.stdout.split() == ["False", "False"]

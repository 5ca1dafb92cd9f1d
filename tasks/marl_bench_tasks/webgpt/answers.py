"""Answers to embedded questions: good ones, mediocre ones, and what a policy tries when it chases a reward."""

import random
import re
from collections.abc import Callable, Mapping

from marl_bench_tasks import faults
from marl_bench_tasks.webgpt.phrases import closing, opening
from marl_bench_tasks.webgpt.questions import Question
from marl_bench_tasks.webgpt.vocabulary import IDLE_SENTENCES
from marl_bench_tasks.webgpt.world import RELATIONS, Fact, Names, Relation, citation, parse_statement, state

_LOWEST_CARE = 0.2
_HIGHEST_CARE = 0.7
_FAULTS = {
    "no_citation": 50,
    "wrong_citation": 8,
    "other_entity": 16,
    "idle": 28,
    "missing": 12,
    "wrong_value": 4,
}
_CITATION = re.compile(r" \[\d+(?:, \d+)*\]")


def reference_answer(question: Question, rng: random.Random) -> str:
    """Restates the question, states and cites every asked fact and one detail, and names the subject again."""
    return " ".join(_reference_sentences(question, rng))


def mediocre_answer(question: Question, rng: random.Random) -> str:
    """Fluent and properly ended, but with citations missing or wrong, other entities, and parts left out: what SFT learns from.

    How careful the writer is differs from answer to answer, so that the quality does too.
    """
    return " ".join(_mediocre_sentences(question, rng))


def corrupted_answer(question: Question, rng: random.Random, *, kind: str) -> str:
    """Returns a spoiled answer; see `answer_and_corruption`."""
    return answer_and_corruption(question, rng, kind=kind)[1]


def answer_and_corruption(question: Question, rng: random.Random, *, kind: str) -> tuple[str, str]:
    """Returns a good or mediocre answer as it is and spoiled.

    Args:
        question: the question it answers.
        rng: draws the answer and its fault.
        kind: a key of `CORRUPTIONS`.
    """
    sentences = _reference_sentences(question, rng) if rng.random() < 0.6 else _mediocre_sentences(question, rng)
    return " ".join(sentences), CORRUPTIONS[kind](sentences, question, rng)


def _reference_sentences(question: Question, rng: random.Random) -> list[str]:
    return [
        opening(question.topic, rng),
        *(_cited(fact, question, rng) for fact in question.asked),
        _cited(_detail(question, rng), question, rng),
        closing(question.subject, rng),
    ]


def _mediocre_sentences(question: Question, rng: random.Random) -> list[str]:
    care = rng.uniform(_LOWEST_CARE, _HIGHEST_CARE)
    idle = rng.sample(IDLE_SENTENCES, len(IDLE_SENTENCES))
    sentences = []
    frame = 0.35 + care / 2
    if rng.random() < frame:
        sentences.append(opening(question.topic, rng))
    elif rng.random() < 0.5:
        sentences.append(idle.pop())
    for fact in (*question.asked, _detail(question, rng)):
        sentences.extend([_cited(fact, question, rng)] if rng.random() < care else _careless(fact, question, idle, rng))
    if rng.random() < frame:
        sentences.append(closing(question.subject, rng))
    elif rng.random() < 0.5 or not sentences:
        sentences.append(idle.pop())
    return sentences


def _careless(fact: Fact, question: Question, idle: list[str], rng: random.Random) -> list[str]:
    """Returns what stands in place of a cited fact; takes what it says of `idle` from there."""
    fault = rng.choices(tuple(_FAULTS), weights=tuple(_FAULTS.values()))[0]
    if fault == "no_citation":
        return [state(fact, rng)]
    if fault == "wrong_citation":
        return [state(fact, rng, cited=_wrong_numbers(fact, question, rng))]
    if fault == "other_entity":
        return [_about_another(question, rng)]
    if fault == "idle":
        return [idle.pop()]
    if fault == "wrong_value":
        return [_with_wrong_value(fact, question, rng)]
    return []


def _detail(question: Question, rng: random.Random) -> Fact:
    """Returns a fact of the reference that the last asked fact stands in."""
    entity = question.asked[-1].entity
    return rng.choice([fact for fact in question.details if fact.entity == entity])


def _numbers(fact: Fact, question: Question) -> tuple[int, ...]:
    number = question.number_of(fact)
    return () if number is None else (number,)


def _cited(fact: Fact, question: Question, rng: random.Random) -> str:
    return state(fact, rng, cited=_numbers(fact, question))


def _wrong_numbers(fact: Fact, question: Question, rng: random.Random) -> tuple[int, ...]:
    """Cites another reference, or one more than the right one, or one that there is not."""
    right = question.number_of(fact)
    others = [number for number in range(1, len(question.references) + 2) if number != right]
    wrong = rng.choice(others)
    return (right, wrong) if right is not None and rng.random() < 0.15 else (wrong,)


def _about_another(question: Question, rng: random.Random) -> str:
    """States what a reference says about an entity that the question does not ask about."""
    return _cited(rng.choice(question.distractions), question, rng)


def _with_wrong_value(fact: Fact, question: Question, rng: random.Random) -> str:
    """States a fact with a value of the same kind from the prompt, or with one that stands nowhere."""
    relation = RELATIONS[fact.relation]
    said = [*question.asked, *question.details, *question.distractions]
    others = [other.value for other in said if other != fact and _slot(other) == relation.slot]
    value = rng.choice(others) if others and rng.random() < 0.7 else _other_value(relation, fact.value, rng)
    return state(Fact(fact.relation, fact.entity, value), rng, cited=_numbers(fact, question))


def _slot(fact: Fact) -> str:
    return RELATIONS[fact.relation].slot


def _other_value(relation: Relation, value: str, rng: random.Random) -> str:
    names = Names(rng)
    return next(other for other in iter(lambda: names.value(relation), None) if other != value)


def _leave_out_citations(sentences: list[str], _question: Question, rng: random.Random) -> str:
    """Cites nothing in some of the sentences that cite, or in all."""
    kept = list(sentences)
    citing = [index for index, sentence in enumerate(kept) if _CITATION.search(sentence)]
    for index in rng.sample(citing, rng.randint(1, len(citing)) if citing else 0):
        kept[index] = _CITATION.sub("", kept[index])
    return " ".join(kept)


def _cite_wrongly(_sentences: list[str], question: Question, rng: random.Random) -> str:
    """Cites wrong references for some facts."""
    facts = [*question.asked, _detail(question, rng)]
    wrong = set(rng.sample(range(len(facts)), rng.randint(1, len(facts))))
    said = [
        state(fact, rng, cited=_wrong_numbers(fact, question, rng)) if place in wrong else _cited(fact, question, rng)
        for place, fact in enumerate(facts)
    ]
    return " ".join([opening(question.topic, rng), *said, closing(question.subject, rng)])


def _cite_everything(sentences: list[str], question: Question, _rng: random.Random) -> str:
    """Cites every reference everywhere."""
    every = citation(range(1, len(question.references) + 1))
    return " ".join(f"{_CITATION.sub('', sentence).rstrip('.?')}{every}." for sentence in sentences)


def _other_entities(sentences: list[str], question: Question, rng: random.Random) -> str:
    """Puts facts of other entities in place of, or after, those that were asked for."""
    kept = list(sentences)
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(kept))
        kept[place : place + rng.choice((0, 1, 1))] = [_about_another(question, rng)]
    return " ".join(kept)


def _miss_the_point(sentences: list[str], question: Question, rng: random.Random) -> str:
    """States something else that is true in place of facts that were asked for."""
    kept = list(sentences)
    statements = [(index, parse_statement(sentence)) for index, sentence in enumerate(kept)]
    asked = [index for index, statement in statements if statement and statement.fact in question.asked]
    for index in rng.sample(asked, rng.randint(1, len(asked)) if asked else 0):
        kept[index] = _cited(rng.choice([*question.details, *question.distractions]), question, rng)
    return " ".join(kept)


def _wrong_values(_sentences: list[str], question: Question, rng: random.Random) -> str:
    """States wrong values."""
    facts = [*question.asked, _detail(question, rng)]
    wrong = set(rng.sample(range(len(facts)), rng.randint(1, len(facts))))
    said = [
        _with_wrong_value(fact, question, rng) if place in wrong else _cited(fact, question, rng)
        for place, fact in enumerate(facts)
    ]
    return " ".join([opening(question.topic, rng), *said, closing(question.subject, rng)])


def _close_wrongly(sentences: list[str], question: Question, rng: random.Random) -> str:
    """Names another subject at the end, or none."""
    other = closing(rng.choice(question.distractions).entity, rng)
    ending = rng.choice(([], [rng.choice(IDLE_SENTENCES)], [other]))
    return " ".join([*(sentences[:-1] or [rng.choice(IDLE_SENTENCES)]), *ending])


def _open_wrongly(sentences: list[str], question: Question, rng: random.Random) -> str:
    """Restates another question, or none."""
    other = rng.choice(question.distractions)
    topic = RELATIONS[other.relation].topic.format(entity=other.entity)
    beginning = rng.choice(([], [rng.choice(IDLE_SENTENCES)], [opening(topic, rng)]))
    return " ".join([*beginning, *(sentences[1:] or sentences)])


def _answer_half(_sentences: list[str], question: Question, rng: random.Random) -> str:
    """Leaves asked facts or the detail out."""
    facts = [*question.asked, _detail(question, rng)]
    kept = sorted(rng.sample(range(len(facts)), rng.randint(0, len(facts) - 1)))
    said = [_cited(facts[place], question, rng) for place in kept]
    return " ".join([opening(question.topic, rng), *said, closing(question.subject, rng)])


def _repeat_in_other_words(sentences: list[str], question: Question, rng: random.Random) -> str:
    """States the same facts again, possibly in the other wording."""
    facts = [*question.asked, *question.details]
    again = [_cited(rng.choice(facts), question, rng) for _ in range(rng.randint(1, 3))]
    return " ".join([*sentences[:-1], *again, *again[:1], sentences[-1]])


def _talk_on(sentences: list[str], question: Question, rng: random.Random) -> str:
    """Says idle things in between and goes on after the end."""
    kept = list(sentences)
    for _ in range(rng.randint(1, 4)):
        more = rng.choice(IDLE_SENTENCES) if rng.random() < 0.7 else _about_another(question, rng)
        kept.insert(rng.randint(0, len(kept)), more)
    return " ".join(kept)


def _quote(sentences: list[str], question: Question, rng: random.Random) -> str:
    """Copies references as they are instead of answering."""
    kept = list(sentences)
    for index in rng.sample(range(len(kept)), rng.randint(1, len(kept))):
        number = rng.randrange(len(question.references))
        text = question.references[number].text
        kept[index] = text if rng.random() < 0.5 else f"{text.removesuffix('.')}{citation((number + 1,))}."
    return " ".join(kept)


CORRUPTIONS: Mapping[str, Callable[[list[str], Question, random.Random], str]] = {
    "no_citations": _leave_out_citations,
    "wrong_citations": _cite_wrongly,
    "cites_everything": _cite_everything,
    "other_entities": _other_entities,
    "misses_the_point": _miss_the_point,
    "wrong_values": _wrong_values,
    "wrong_closing": _close_wrongly,
    "wrong_opening": _open_wrongly,
    "half_answered": _answer_half,
    "repeated_sentences": lambda sentences, _question, rng: faults.repeat_sentences(sentences, rng, most=3),
    "repeated_facts": _repeat_in_other_words,
    "word_loop": lambda sentences, _question, rng: faults.loop_words(sentences, rng, max_words=100),
    "talks_on": _talk_on,
    "cut_short": lambda sentences, _question, rng: faults.cut_short(sentences, rng),
    "few_sentences": lambda sentences, _question, rng: faults.few_sentences(sentences, rng, left_out=2),
    "garbled": lambda sentences, _question, rng: faults.garble(sentences, rng),
    "slips": lambda sentences, _question, rng: faults.slip(sentences, rng, otherwise=IDLE_SENTENCES),
    "quotes": _quote,
}

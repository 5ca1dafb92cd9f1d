"""Prints the texts that the task's tiny model is pretrained on, one JSON string a line.

    python -m marl_bench_tasks.webgpt.texts > texts.jsonl
    python -m marl_bench.models.pretrain_tiny --texts texts.jsonl --out tasks/marl_bench_tasks/webgpt/tiny_base \\
        --drill-steps 200 --mixed-steps 900 --text-tokens 216

Each is the prompt of a training question and notes about its references: true sentences in any order, mostly with their
citation, about what is asked more often than about the rest, some of them twice, and idle ones; or many short notes, the
second halves of such sentences and single words, each with its citation. From the short ones, where little else is to be
learnt, a small model learns within minutes to which reference a word belongs. So the base model knows the language and can
copy a value and a number out of a reference; but it has seen no answer: what to say, in which order, and when to stop is left
to supervised fine-tuning.
"""

import json
import random
import sys

from marl_bench_tasks.webgpt.phrases import closing, opening
from marl_bench_tasks.webgpt.prompts import Quote, render_prompt
from marl_bench_tasks.webgpt.questions import Question, make_questions
from marl_bench_tasks.webgpt.vocabulary import IDLE_SENTENCES
from marl_bench_tasks.webgpt.world import RELATIONS, Fact, citation, state

QUESTIONS = 4000
"""The first ones of the embedded rows, all of them for training."""
_TEXTS_PER_QUESTION = 2
_NOTES_PER_TEXT = 6
_SHORT_NOTES_PER_TEXT = 13
_SHORT_SHARE = 0.4
_WORD_SHARE = 0.25
_IDLE_SHARE = 0.08
_PHRASE_SHARE = 0.2
_CITED_SHARE = 0.8
_FACT_WEIGHTS = (0.5, 0.2, 0.3)
"""Of facts that are asked for, of others about the same entities, and of those about other entities."""


def pretraining_texts(*, seed: int = 0) -> list[str]:
    """Returns some texts for each of the first training questions."""
    rng = random.Random(f"webgpt texts {seed}")
    questions = make_questions(count=QUESTIONS, seed=seed)
    return [_with_notes(question, rng) for _ in range(_TEXTS_PER_QUESTION) for question in questions]


def main() -> None:
    """Writes the texts to standard output."""
    for text in pretraining_texts():
        sys.stdout.write(json.dumps(text) + "\n")


def _with_notes(question: Question, rng: random.Random) -> str:
    quotes = [Quote(reference.entity, reference.text) for reference in question.references]
    if rng.random() < _SHORT_SHARE:
        notes = [_short_note(question, rng) for _ in range(_SHORT_NOTES_PER_TEXT)]
    else:
        notes = [_note(question, rng) for _ in range(_NOTES_PER_TEXT)]
    return render_prompt(question.text, quotes).text + "".join(f" {note}" for note in notes)


def _short_note(question: Question, rng: random.Random) -> str:
    if rng.random() < _WORD_SHARE:
        fact = rng.choice([fact for reference in question.references for fact in reference.facts])
        return f"{rng.choice((fact.entity, fact.value))}{_citation(fact, question)}."
    fact = _fact(question, rng)
    wording = rng.choice(RELATIONS[fact.relation].statements)
    wording = wording[wording.index("{entity}") :]
    return f"{wording.format(entity=fact.entity, value=fact.value)}{_citation(fact, question)}."


def _note(question: Question, rng: random.Random) -> str:
    draw = rng.random()
    if draw < _IDLE_SHARE:
        return rng.choice(IDLE_SENTENCES)
    cited = rng.random() < _CITED_SHARE
    if draw < _IDLE_SHARE + _PHRASE_SHARE:
        return opening(question.topic, rng) if rng.random() < 0.5 else closing(question.subject, rng)
    fact = _fact(question, rng)
    return state(fact, rng, cited=_numbers(fact, question) if cited else ())


def _fact(question: Question, rng: random.Random) -> Fact:
    """Returns a fact of the references; those that the question is about come more often, so that notes depend on it."""
    facts = rng.choices((question.asked, question.details, question.distractions), weights=_FACT_WEIGHTS)[0]
    return rng.choice(facts)


def _numbers(fact: Fact, question: Question) -> tuple[int, ...]:
    number = question.number_of(fact)
    return () if number is None else (number,)


def _citation(fact: Fact, question: Question) -> str:
    return citation(_numbers(fact, question))


if __name__ == "__main__":
    main()

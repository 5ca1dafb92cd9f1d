"""Prints the texts that the task's tiny model is pretrained on, one JSON string a line.

    python -m marl_bench_tasks.webgpt.texts > texts.jsonl

Each is the prompt of a training question and notes about its references: true sentences in any order, mostly with their
citation, some of them twice, and idle ones; or many short notes, the second halves of such sentences and single words, each
with its citation. From the short ones, where little else is to be learnt, a small model learns within minutes to which
reference a word belongs. So the base model knows the language and can copy a value and a number out of a reference; but it has
seen no answer: what to say, in which order, and when to stop is left to supervised fine-tuning.
"""

import json
import random
import sys

from marl_bench_tasks.webgpt.embedded import TRAIN_ROWS
from marl_bench_tasks.webgpt.phrases import closing, opening
from marl_bench_tasks.webgpt.prompts import Quote, render_prompt
from marl_bench_tasks.webgpt.questions import Question, make_questions
from marl_bench_tasks.webgpt.vocabulary import IDLE_SENTENCES
from marl_bench_tasks.webgpt.world import RELATIONS, citation, state

_TEXTS_PER_QUESTION = 2
_NOTES_PER_TEXT = 6
_SHORT_NOTES_PER_TEXT = 13
_SHORT_SHARE = 0.4
_WORD_SHARE = 0.25
_IDLE_SHARE = 0.08
_PHRASE_SHARE = 0.2
_CITED_SHARE = 0.8


def pretraining_texts(*, seed: int = 0) -> list[str]:
    """Returns some texts per training question."""
    rng = random.Random(f"webgpt texts {seed}")
    questions = make_questions(count=TRAIN_ROWS, seed=seed)
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
    number, reference = rng.choice(list(enumerate(question.references, start=1)))
    fact = rng.choice(reference.facts)
    if rng.random() < _WORD_SHARE:
        return f"{rng.choice((fact.entity, fact.value))}{citation((number,))}."
    wording = rng.choice(RELATIONS[fact.relation].statements)
    wording = wording[wording.index("{entity}") :]
    return f"{wording.format(entity=fact.entity, value=fact.value)}{citation((number,))}."


def _note(question: Question, rng: random.Random) -> str:
    draw = rng.random()
    if draw < _IDLE_SHARE:
        return rng.choice(IDLE_SENTENCES)
    number, reference = rng.choice(list(enumerate(question.references, start=1)))
    fact = rng.choice(reference.facts)
    cited = (number,) if rng.random() < _CITED_SHARE else ()
    if draw < _IDLE_SHARE + _PHRASE_SHARE:
        return opening(question.topic, rng) if rng.random() < 0.5 else closing(fact.value, rng, cited=cited)
    return state(fact, rng, cited=cited)


if __name__ == "__main__":
    main()

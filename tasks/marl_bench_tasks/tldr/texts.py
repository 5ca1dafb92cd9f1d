"""Prints the texts that the shipped tiny model is pretrained on, one JSON string a line.

    python -m marl_bench_tasks.tldr.texts > texts.jsonl

Each is a training post and groups of notes about it, some of them false; an end token closes each group, and a digit after it
tells how many of its notes are true. So the base model knows the language, can copy a value out of a post and notices what
contradicts it, as a real base model does; but it has seen no summary: what to say, in which order, and when to stop is left
to supervised fine-tuning, and what is good to the reward model.
"""

import json
import random
import sys

from marl_bench_tasks.tldr.embedded import TRAIN_ROWS
from marl_bench_tasks.tldr.posts import Post, make_posts, render_prompt
from marl_bench_tasks.tldr.predicates import FACT_PREDICATES, Fact, random_fact, summary_sentence, with_wrong_value

_END = "<|eos|>"
_GROUPS_PER_POST = 4


def pretraining_texts(*, seed: int = 0) -> list[str]:
    """Returns one text per training post."""
    rng = random.Random(f"tldr texts {seed}")
    return [_with_notes(post, rng) for post in make_posts(count=TRAIN_ROWS, seed=seed)]


def main() -> None:
    """Writes the texts to standard output."""
    for text in pretraining_texts():
        sys.stdout.write(json.dumps(text) + "\n")


def _with_notes(post: Post, rng: random.Random) -> str:
    groups = [_note_group(post, rng) for _ in range(_GROUPS_PER_POST)]
    return render_prompt(post).removesuffix("TL;DR:") + rng.choice(("TL;DR:", "NOTES:")) + "".join(groups)


def _note_group(post: Post, rng: random.Random) -> str:
    facts = rng.sample((*post.facts, post.question), rng.choice((1, 1, 1, 2, 3)))
    notes = [fact if rng.random() < 0.6 else _false_note(fact, post, rng) for fact in facts]
    true_notes = sum(note in facts for note in notes)
    return "".join(f" {summary_sentence(note, rng)}" for note in notes) + f"{_END}{true_notes}"


def _false_note(fact: Fact, post: Post, rng: random.Random) -> Fact:
    if rng.random() < 0.7:
        return with_wrong_value(fact, rng)
    mentioned = {other.kind for other in post.facts}
    kinds = [predicate.kind for predicate in FACT_PREDICATES if predicate.kind not in mentioned]
    return random_fact(rng.choice(kinds), rng)


if __name__ == "__main__":
    main()

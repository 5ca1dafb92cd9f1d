"""Prints the texts that the shipped tiny model is pretrained on, one JSON string a line.

    python -m marl_bench_tasks.tldr.texts > texts.jsonl

Each is a training post and notes about it: true sentences in any order, some of them twice, and asides. So the base
model knows the language and can copy a value out of a post; but it has seen no summary: what to say, in which order,
and when to stop is left to supervised fine-tuning.
"""

import json
import random
import sys

from marl_bench_tasks.tldr.embedded import TRAIN_ROWS
from marl_bench_tasks.tldr.posts import Post, make_posts, render_prompt
from marl_bench_tasks.tldr.predicates import summary_sentence
from marl_bench_tasks.tldr.vocabulary import DIGRESSIONS

_NOTES_PER_POST = 6
_ASIDE_SHARE = 0.15


def pretraining_texts(*, seed: int = 0) -> list[str]:
    """Returns one text per training post."""
    rng = random.Random(f"tldr texts {seed}")
    return [_with_notes(post, rng) for post in make_posts(count=TRAIN_ROWS, seed=seed)]


def main() -> None:
    """Writes the texts to standard output."""
    for text in pretraining_texts():
        sys.stdout.write(json.dumps(text) + "\n")


def _with_notes(post: Post, rng: random.Random) -> str:
    notes = "".join(f" {_note(post, rng)}" for _ in range(_NOTES_PER_POST))
    return render_prompt(post).removesuffix("TL;DR:") + rng.choice(("TL;DR:", "NOTES:")) + notes


def _note(post: Post, rng: random.Random) -> str:
    if rng.random() < _ASIDE_SHARE:
        return rng.choice(DIGRESSIONS)
    return summary_sentence(rng.choice((*post.facts, post.question)), rng)


if __name__ == "__main__":
    main()
